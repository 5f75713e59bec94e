import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, pageQuery, problems, retryKey, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { noBody } from '../web/middleware/body.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { getMove, getSides, listMoves, planMoves, resolveMove, steerMove } from './moves.ts'
import {
  choiceShape,
  movePageShape,
  moveRequestShape,
  moveSidesShape,
  oneMoveShape,
  plannedMovesShape,
} from './shapes.ts'

const idParam = z.object({ id: z.string() })
const oneMove = json(oneMoveShape, 'The move')

export function moveRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/moves',
      security: operatorsOnly,
      request: { body: jsonBody(moveRequestShape) },
      responses: {
        202: json(plannedMovesShape, 'One move per source. Slots that the target has already are omitted'),
        ...writeProblems(401, 404, 409),
      },
    }),
    async (c) => c.json({ moves: await planMoves(operators(c), c.req.valid('json'), retryKey(c)) }, 202),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves',
      security: operatorsOnly,
      request: { query: pageQuery },
      responses: { 200: json(movePageShape, 'Moves, newest first'), ...problems(401, 404, 422) },
    }),
    async (c) => c.json(await listMoves(operators(c), c.req.valid('query')), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves/{id}',
      security: operatorsOnly,
      request: { params: idParam },
      responses: { 200: oneMove, ...problems(401, 404) },
    }),
    async (c) => c.json({ move: await getMove(operators(c), c.req.valid('param').id) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves/{id}/sides',
      security: operatorsOnly,
      request: { params: idParam },
      responses: {
        200: json(moveSidesShape, 'The move’s slots and rows at both shards, and the safe choices'),
        ...problems(401, 404, 503),
      },
    }),
    async (c) => c.json(await getSides(operators(c), c.req.valid('param').id), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/moves/{id}/resolve',
      security: operatorsOnly,
      request: { params: idParam, body: jsonBody(choiceShape) },
      responses: { 200: oneMove, ...writeProblems(401, 404, 409) },
    }),
    async (c) => {
      const { choice } = c.req.valid('json')
      return c.json({ move: await resolveMove(operators(c), c.req.valid('param').id, choice) }, 200)
    },
  )
  for (const verb of ['abort', 'reverse', 'complete'] as const)
    app.openapi(
      createRoute({
        method: 'post',
        path: `/operator/v1/moves/{id}/${verb}`,
        middleware: noBody,
        security: operatorsOnly,
        request: { params: idParam },
        responses: { 202: oneMove, ...writeProblems(401, 404, 409) },
      }),
      async (c) => c.json({ move: await steerMove(operators(c), c.req.valid('param').id, verb, retryKey(c)) }, 202),
    )
}
