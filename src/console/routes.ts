import type { OpenAPIHono } from '@hono/zod-openapi'
import type { WebEnv } from '../web/context.ts'
import { migrationRoutes } from './migrations.ts'
import { moveRoutes } from './move-routes.ts'
import { probeRoutes } from './probe.ts'
import { shardRoutes } from './shard-routes.ts'

/** The operators' API, behind their token. */
export function operatorRoutes(app: OpenAPIHono<WebEnv>): void {
  shardRoutes(app)
  moveRoutes(app)
  migrationRoutes(app)
  probeRoutes(app)
  app.openAPIRegistry.registerComponent('securitySchemes', 'operator', { type: 'http', scheme: 'bearer' })
}
