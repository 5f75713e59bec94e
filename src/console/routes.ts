import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, problems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorOnly, operatorsOnly } from '../web/middleware/operator-only.ts'
import { moveRoutes } from './move-routes.ts'
import { listShards } from './shards.ts'

export const shardShape = z
  .object({
    id: z.string(),
    binding: z.string(),
    state: z.enum(['serving', 'draining', 'read-only', 'restoring']),
    slots: z.int(),
    bytes: z.int(),
    users: z.int(),
    queriesPerSecond: z.number(),
  })
  .openapi('Shard')

/** The operators' API. Without a configured token it isn't there. */
export function operatorRoutes(app: OpenAPIHono<WebEnv>): void {
  app.use('/operator/*', operatorOnly())
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/shards',
      security: operatorsOnly,
      responses: {
        200: json(z.object({ epoch: z.int(), items: z.array(shardShape) }), 'The shards'),
        ...problems(401, 404, 503),
      },
    }),
    async (c) => c.json(await listShards(c.get('tiers')), 200),
  )
  moveRoutes(app)
  app.openAPIRegistry.registerComponent('securitySchemes', 'operator', { type: 'http', scheme: 'bearer' })
}
