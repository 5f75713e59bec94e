import type { OpenAPIHono } from '@hono/zod-openapi'
import type { WebEnv } from '../web/context.ts'
import { operatorOnly } from '../web/middleware/operator-only.ts'
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
