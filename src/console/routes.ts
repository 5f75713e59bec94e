import type { OpenAPIHono } from '@hono/zod-openapi'
import { createMiddleware } from 'hono/factory'
import { constantTimeEqual, sha256Hex } from '../core/digest.ts'
import { BanyanError } from '../core/errors.ts'
import type { WebEnv } from '../web/context.ts'
import { migrationRoutes } from './migrations.ts'
import { moveRoutes } from './move-routes.ts'
import { shardRoutes } from './shard-routes.ts'

/** The operators' API. Without a configured token it isn't there. */
export function operatorRoutes(app: OpenAPIHono<WebEnv>): void {
  app.use('/operator/*', operatorOnly())
  shardRoutes(app)
  moveRoutes(app)
  migrationRoutes(app)
  app.openAPIRegistry.registerComponent('securitySchemes', 'operator', { type: 'http', scheme: 'bearer' })
}

const operatorOnly = () =>
  createMiddleware<WebEnv>(async function operatorOnly(c, next) {
    const { operatorToken } = c.get('tiers').settings
    if (!operatorToken) throw new BanyanError('NOT_FOUND', 'There is nothing at this path.')
    const given = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1] ?? ''
    if (!constantTimeEqual(sha256Hex(given), sha256Hex(operatorToken)))
      throw new BanyanError('OPERATOR_TOKEN_REQUIRED', 'Send `Authorization: Bearer $OPERATOR_TOKEN`.')
    await next()
  })
