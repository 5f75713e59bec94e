import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'

const probeShape = z
  .object({
    items: z.array(
      z.object({
        binding: z.string(),
        case: z.string(),
        expected: z.string(),
        /** What the router makes of the answer. */
        met: z.string(),
        /** The error’s text, as the binding threw it. */
        text: z.string(),
        ok: z.boolean(),
      }),
    ),
    /** Bindings of shards that are being restored. */
    leftOut: z.array(z.string()),
    /** The `after` of the next page, or null. */
    next: z.string().nullable(),
  })
  .openapi('Probe')

const pageShape = z.strictObject({
  after: z
    .string()
    .regex(/^SHARD_\d{3}$/)
    .optional(),
})

/** Whether this version understands its databases’ refusals (src/sharding/probe.ts). It writes nothing. */
export function probeRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/probe',
      security: operatorsOnly,
      request: { body: jsonBody(pageShape) },
      responses: {
        200: json(probeShape, 'What some databases answered to batches that they must refuse'),
        ...writeProblems(401, 404),
      },
    }),
    async (c) => c.json(await operators(c).probe(c.req.valid('json').after ?? null), 200),
  )
}
