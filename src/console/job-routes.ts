import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { listKinds, listQueues, setKindPaused, setQueuePaused } from './job-kinds.ts'
import { jobKindListShape, jobKindShape, jobQueueListShape, jobQueueShape, pausedShape } from './shapes.ts'

export function jobRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/jobs/kinds',
      security: operatorsOnly,
      responses: {
        200: json(jobKindListShape, 'The kinds of jobs, and the shards that did not answer'),
        ...problems(401, 404),
      },
    }),
    async (c) => c.json(await listKinds(operators(c)), 200),
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/operator/v1/jobs/kinds/{kind}',
      security: operatorsOnly,
      request: { params: z.object({ kind: z.string() }), body: jsonBody(pausedShape) },
      responses: { 200: json(jobKindShape, 'The kind'), ...writeProblems(401, 404) },
    }),
    async (c) => {
      const { paused } = c.req.valid('json')
      return c.json(await setKindPaused(operators(c), c.req.valid('param').kind, paused), 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/jobs/queues',
      security: operatorsOnly,
      responses: { 200: json(jobQueueListShape, 'The queues, and what waits in them'), ...problems(401, 404) },
    }),
    async (c) => c.json(await listQueues(operators(c)), 200),
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/operator/v1/jobs/queues/{queue}',
      security: operatorsOnly,
      request: { params: z.object({ queue: z.string() }), body: jsonBody(pausedShape) },
      responses: { 200: json(jobQueueShape, 'The queue'), ...writeProblems(401, 404) },
    }),
    async (c) => {
      const { paused } = c.req.valid('json')
      return c.json(await setQueuePaused(operators(c), c.req.valid('param').queue, paused), 200)
    },
  )
}
