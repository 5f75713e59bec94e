import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { moveChoices, moveStates, parseRanges } from '../resharding/record.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import { json, jsonBody, listOf, pageQuery, problems, retryKey, wholeText, writeProblems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { noBody } from '../web/middleware/body.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import { getMove, getSides, listMoves, planMoves, resolveMove, steerMove } from './moves.ts'

export const moveShape = z
  .object({
    id: z.string(),
    keyspace: z.enum(keyspaces),
    slots: z.string(),
    source: z.string(),
    target: z.string(),
    state: z.enum(moveStates),
    /** From 0 to 1. */
    progress: z.number(),
    rowsCopied: z.int(),
    rowsTotal: z.int(),
    rowsVerified: z.int(),
    cutoverMs: z.int().nullable(),
    /** Turned round once: `source` and `target` have changed places. */
    reversed: z.boolean(),
    createdAt: z.iso.datetime(),
    /** Until then it can be reversed, and the source keeps its rows. */
    settlesAt: z.iso.datetime().nullable(),
    /** While it is being undone: what it will be then. */
    ending: z.enum(['aborted', 'failed']).optional(),
    error: z.string().optional(),
    /** Why the latest turn of its mover ended early. It tries again. */
    interrupted: z.string().optional(),
    /** Why only a person can decide how it continues: see its sides. */
    stuck: z.string().optional(),
    /** Slots that it leaves as they are, after a person's choice. */
    leftAlone: z.string().optional(),
    /** While it settles: about how many changes the target has captured for a reverse, and at how many it stops. */
    captured: z.int().optional(),
    capturedMax: z.int().optional(),
    /** The target stopped capturing changes, so the move can't be reversed. */
    captureStopped: z.boolean().optional(),
  })
  .openapi('Move')

const SLOTS_DETAIL =
  'Slots are four hex digits in lower case: "00ff", a range "0000-0fff", or several with commas between, none twice.'

export const wishShape = z.strictObject({
  slots: z.string().refine((text) => parseRanges(text) !== null, SLOTS_DETAIL),
  target: wholeText.min(1).max(100),
  keyspace: z.enum(keyspaces).default('users'),
})

export const sidesShape = z
  .object({
    sides: z.array(
      z.object({
        shard: z.string(),
        /** The move's slots by state, and by the move that they are of there; the others are not known. */
        slots: z.array(z.object({ state: z.string(), move: z.string().nullable(), slots: z.int() })),
        rows: z.int(),
        /** There are more rows than were counted. */
        isMore: z.boolean(),
      }),
    ),
    /** What is safe now. */
    choices: z.array(z.enum(moveChoices)),
  })
  .openapi('MoveSides')

const choiceShape = z.strictObject({ choice: z.enum(moveChoices) })

const idParam = z.object({ id: z.string() })
const oneMove = json(z.object({ move: moveShape }), 'The move')

export function moveRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/moves',
      security: operatorsOnly,
      request: { body: jsonBody(wishShape) },
      responses: {
        202: json(z.object({ moves: z.array(moveShape) }), 'One move a source; slots already there are left out'),
        ...writeProblems(401, 404, 409),
      },
    }),
    async (c) => c.json({ moves: await planMoves(c.get('tiers'), c.req.valid('json'), retryKey(c)) }, 202),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves',
      security: operatorsOnly,
      request: { query: pageQuery },
      responses: { 200: json(listOf(moveShape), 'Moves, newest first'), ...problems(401, 404, 422) },
    }),
    async (c) => c.json(await listMoves(c.get('tiers'), c.req.valid('query')), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves/{id}',
      security: operatorsOnly,
      request: { params: idParam },
      responses: { 200: oneMove, ...problems(401, 404) },
    }),
    async (c) => c.json({ move: await getMove(c.get('tiers'), c.req.valid('param').id) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/moves/{id}/sides',
      security: operatorsOnly,
      request: { params: idParam },
      responses: {
        200: json(sidesShape.extend({ move: moveShape }), 'What both shards hold of the move, and the safe choices'),
        ...problems(401, 404, 503),
      },
    }),
    async (c) => c.json(await getSides(c.get('tiers'), c.req.valid('param').id), 200),
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
      return c.json({ move: await resolveMove(c.get('tiers'), c.req.valid('param').id, choice) }, 200)
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
      async (c) => c.json({ move: await steerMove(c.get('tiers'), c.req.valid('param').id, verb, retryKey(c)) }, 202),
    )
}
