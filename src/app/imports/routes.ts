import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { operatorsOnly } from '../../web/middleware/operator-only.ts'
import { importUsers } from './imports.ts'
import { importOutcome, importShape, verification } from './shapes.ts'
import { verifyUsers } from './verification.ts'

const answers = writeProblems(401, 404)

export function importRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/imports',
      security: operatorsOnly,
      request: { body: jsonBody(importShape) },
      responses: {
        200: json(z.object({ items: z.array(importOutcome) }), 'The outcome of each user, in order'),
        ...answers,
      },
    }),
    async (c) => c.json({ items: await importUsers(c.get('tiers'), c.req.valid('json')) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/imports/verifications',
      security: operatorsOnly,
      request: { body: jsonBody(importShape) },
      responses: {
        200: json(z.object({ items: z.array(verification) }), 'The state of each user in the databases, in order'),
        ...answers,
      },
    }),
    async (c) => c.json({ items: await verifyUsers(c.get('tiers'), c.req.valid('json')) }, 200),
  )
}
