import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { noBody } from '../web/middleware/body.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { backfillListShape, backfillShape, pausedShape } from './shapes.ts'

const params = z.object({ name: z.string() })

export function backfillRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/backfills',
      security: operatorsOnly,
      responses: { 200: json(backfillListShape, 'The backfills with their latest runs'), ...problems(401, 404) },
    }),
    async (c) => c.json({ items: await operators(c).backfills.list() }, 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/backfills/{name}',
      middleware: noBody,
      security: operatorsOnly,
      request: { params },
      responses: {
        202: json(backfillShape, 'A new run, or the one that is not over. A paused one is resumed'),
        ...writeProblems(401, 404),
      },
    }),
    async (c) => c.json(await operators(c).backfills.start(c.req.valid('param').name), 202),
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/operator/v1/backfills/{name}',
      security: operatorsOnly,
      request: { params, body: jsonBody(pausedShape) },
      responses: { 200: json(backfillShape, 'Paused or resumed'), ...writeProblems(401, 404) },
    }),
    async (c) => {
      const { paused } = c.req.valid('json')
      return c.json(await operators(c).backfills.setPaused(c.req.valid('param').name, paused), 200)
    },
  )
}
