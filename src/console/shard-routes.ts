import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, retryKey, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { noBody } from '../web/middleware/body.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import {
  joinShape,
  oneShardShape,
  planShape,
  rebalanceShape,
  shardListShape,
  startedMovesShape,
  stateShape,
} from './shapes.ts'
import { drainShard, joinShard, listShards, rebalance, setShardState } from './shards.ts'

const idParam = z.object({ id: z.string() })
const oneShard = json(oneShardShape, 'The shard')
const startedMoves = json(startedMovesShape, 'The moves. Each waits for free lanes')

export function shardRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/shards',
      security: operatorsOnly,
      responses: {
        200: json(shardListShape, 'The shards'),
        ...problems(401, 404),
      },
    }),
    async (c) => c.json(await listShards(operators(c)), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/shards',
      security: operatorsOnly,
      request: { body: jsonBody(joinShape) },
      responses: { 201: oneShard, ...writeProblems(401, 404, 409) },
    }),
    async (c) => c.json({ shard: await joinShard(operators(c), c.req.valid('json').binding, retryKey(c)) }, 201),
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/operator/v1/shards/{id}',
      security: operatorsOnly,
      request: { params: idParam, body: jsonBody(stateShape) },
      responses: { 200: oneShard, ...writeProblems(401, 404, 409) },
    }),
    async (c) => {
      const { state } = c.req.valid('json')
      return c.json({ shard: await setShardState(operators(c), c.req.valid('param').id, state) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/operator/v1/shards/{id}',
      middleware: noBody,
      security: operatorsOnly,
      request: { params: idParam },
      responses: { 204: { description: 'The shard is removed' }, ...writeProblems(401, 404, 409) },
    }),
    async (c) => {
      await operators(c).directory.removeShard(c.req.valid('param').id)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/shards/{id}/drain',
      middleware: noBody,
      security: operatorsOnly,
      request: { params: idParam },
      responses: { 202: startedMoves, ...writeProblems(401, 404, 409) },
    }),
    async (c) => c.json(await drainShard(operators(c), c.req.valid('param').id, retryKey(c)), 202),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/rebalance',
      security: operatorsOnly,
      request: { body: jsonBody(rebalanceShape) },
      responses: {
        200: json(planShape, 'A dry run’s plan'),
        202: startedMoves,
        ...writeProblems(401, 404, 409),
      },
    }),
    async (c) => {
      const answer = await rebalance(operators(c), c.req.valid('json'), retryKey(c))
      return 'plan' in answer ? c.json(answer.plan, 200) : c.json(answer, 202)
    },
  )
}
