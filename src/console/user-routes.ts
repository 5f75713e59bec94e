import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { json, problems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { userPageShape, userQuery } from './shapes.ts'
import { listUsers } from './users.ts'

export function userRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/users',
      security: operatorsOnly,
      request: { query: userQuery },
      responses: {
        200: json(userPageShape, 'Users of all shards, by handle or newest first, and the shards that did not answer'),
        ...problems(401, 404, 422),
      },
    }),
    async (c) => c.json(await listUsers(operators(c), c.req.valid('query')), 200),
  )
}
