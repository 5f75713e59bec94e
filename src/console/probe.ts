import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { json, jsonBody, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { probePageShape, probeRequestShape } from './shapes.ts'

/** Checks that this version understands its databases’ refusals (src/sharding/probe.ts). Writes nothing. */
export function probeRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/probe',
      security: operatorsOnly,
      request: { body: jsonBody(probeRequestShape) },
      responses: {
        200: json(probePageShape, 'Answers of some databases to batches that they must refuse'),
        ...writeProblems(401, 404),
      },
    }),
    async (c) => c.json(await operators(c).probe(c.req.valid('json').after ?? null), 200),
  )
}
