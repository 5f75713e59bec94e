import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, retryKey, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { listKeyspaces, placeKeyspace } from './keyspaces.ts'
import { keyspaceListShape, placeShape, startedMovesShape } from './shapes.ts'

export function keyspaceRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/keyspaces',
      security: operatorsOnly,
      responses: { 200: json(keyspaceListShape, 'The table groups'), ...problems(401, 404) },
    }),
    async (c) => c.json(await listKeyspaces(operators(c)), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/keyspaces/{name}/place',
      security: operatorsOnly,
      request: { params: z.object({ name: z.string() }), body: jsonBody(placeShape) },
      responses: {
        202: json(startedMovesShape, 'One move per shard that has some of the slots. Each waits for free lanes'),
        ...writeProblems(401, 404, 409),
      },
    }),
    async (c) => {
      const { target } = c.req.valid('json')
      return c.json(await placeKeyspace(operators(c), c.req.valid('param').name, target, retryKey(c)), 202)
    },
  )
}
