import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { noBody } from '../web/middleware/body.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { discardLetters, listDeadLetters, redriveLetter, redriveLetters } from './job-letters.ts'
import { deadLetterPageShape, deadLetterQuery, letterFilterShape, lettersTakenShape } from './shapes.ts'

const redriven = json(lettersTakenShape, 'How many jobs run again')

export function jobLetterRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/dead-letters',
      security: operatorsOnly,
      request: { query: deadLetterQuery },
      responses: {
        200: json(deadLetterPageShape, 'Jobs that used up their attempts, the newest death first'),
        ...problems(401, 404, 422),
      },
    }),
    async (c) => c.json(await listDeadLetters(operators(c), c.req.valid('query')), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/dead-letters/{id}/redrive',
      middleware: noBody,
      security: operatorsOnly,
      request: { params: z.object({ id: z.string() }) },
      responses: { 202: redriven, ...writeProblems(401, 404) },
    }),
    async (c) => c.json(await redriveLetter(operators(c), c.req.valid('param').id), 202),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/dead-letters/redrive',
      security: operatorsOnly,
      request: { body: jsonBody(letterFilterShape) },
      responses: { 202: redriven, ...writeProblems(401, 404) },
    }),
    async (c) => c.json(await redriveLetters(operators(c), c.req.valid('json')), 202),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/dead-letters/discard',
      security: operatorsOnly,
      request: { body: jsonBody(letterFilterShape) },
      responses: { 202: json(lettersTakenShape, 'How many jobs were given up'), ...writeProblems(401, 404) },
    }),
    async (c) => c.json(await discardLetters(operators(c), c.req.valid('json')), 202),
  )
}
