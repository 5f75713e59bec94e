import type { z } from '@hono/zod-openapi'
import { rfc3339 } from '../core/clock.ts'
import { BanyanError, hasCode } from '../core/errors.ts'
import { isPlainId } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import type { MoveVerb } from '../resharding/directory-operations.ts'
import {
  formatRanges,
  fractionDone,
  isOver,
  type MoveChoice,
  type MoveRecord,
  parseRanges,
  withNotes,
} from '../resharding/record.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import { formatCursor, parseCursor } from '../web/api.ts'
import type { OperatorContext } from './context.ts'
import type { Move, MovePage, MoveSides, moveRequestShape } from './shapes.ts'

type MoveContext = Pick<OperatorContext, 'directory' | 'movers'>

/**
 * Plans one move per source. Throws INVALID for malformed slots and an unknown target, and a 409 that names the
 * obstacle if the moves cannot start.
 */
export async function planMoves(
  { directory }: MoveContext,
  request: z.infer<typeof moveRequestShape>,
  retry: RetryKey | null,
): Promise<Move[]> {
  const { keyspace, target, slots } = request
  const ranges = present(parseRanges(slots), 'slots that the shape has checked')
  try {
    const { moves } = await directory.planMoves({ keyspace, target, ranges }, retry)
    return moves.map(toMove)
  } catch (error) {
    throw refusedTarget(error)
  }
}

/** The directory reports that a target does not exist. To the caller, that is a wrong field. */
export const refusedTarget = (error: unknown): unknown =>
  hasCode(error, 'NOT_FOUND')
    ? new BanyanError('INVALID', error.message, { errors: [{ pointer: '/target', detail: error.message }] })
    : error

/** Newest first. */
export async function listMoves(
  { directory }: MoveContext,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<MovePage> {
  const records = await directory.listMoves({ limit: limit + 1, before: parseCursor(cursor, isPlainId) })
  const items = records.slice(0, limit).map(toMove)
  const last = items.at(-1)
  return { items, next: last && records.length > limit ? formatCursor(last.id) : null }
}

/** Throws NOT_FOUND. */
export async function getMove({ directory }: MoveContext, id: string): Promise<Move> {
  const record = isPlainId(id) ? await directory.findMove(id) : null
  if (!record) throw noMove(id)
  return toMove(record)
}

/** Throws NOT_FOUND, MOVE_STATE, SHARD_IN_MOVE. */
export async function steerMove(
  operators: MoveContext,
  id: string,
  verb: MoveVerb,
  retry: RetryKey | null,
): Promise<Move> {
  if (!isPlainId(id)) throw noMove(id)
  return toMove(await steered(operators, id, verb, retry))
}

async function steered(
  { directory, movers }: MoveContext,
  id: string,
  verb: MoveVerb,
  retry: RetryKey | null,
): Promise<MoveRecord> {
  const { move } = await directory.steerMove(id, verb, retry)
  await movers.wake(id)
  return move
}

/** Throws NOT_FOUND, SHARD_UNAVAILABLE. */
export async function getSides(operators: MoveContext, id: string): Promise<MoveSides> {
  const move = await getMove(operators, id)
  const { sides, choices } = await operators.movers.sides(id)
  const told = sides.map(({ slots, ...side }) => ({
    ...side,
    slots: slots.map(({ moveId, ...count }) => ({ ...count, move: moveId })),
  }))
  return { move, sides: told, choices }
}

/** Throws NOT_FOUND, MOVE_STATE with the choices that are safe now, SHARD_UNAVAILABLE. */
export async function resolveMove(operators: MoveContext, id: string, choice: MoveChoice): Promise<Move> {
  await getMove(operators, id)
  const { isSafe, choices } = await operators.movers.resolve(id, choice)
  if (!isSafe) throw unsafe(id, choice, choices)
  if (choice === 'undo') return steerMove(operators, id, 'abort', null)
  return getMove(operators, id)
}

function unsafe(id: string, choice: MoveChoice, choices: MoveChoice[]): BanyanError {
  const safe = choices.length === 0 ? 'No choice is safe now' : `Safe now: ${choices.join(', ')}`
  const detail = `"${choice}" is not safe for move ${id} now. ${safe}. See: npm run banyan -- moves resolve ${id}`
  return new BanyanError('MOVE_STATE', detail, { errors: [{ pointer: '/choice', detail: safe }] })
}

const noMove = (id: string) =>
  new BanyanError('NOT_FOUND', `There is no move "${id}". See: npm run banyan -- moves list`)

/** A move's record in the shape of the API. */
export function toMove(given: MoveRecord): Move {
  const record = withNotes(given)
  const { id, keyspace, state, rowsCopied, rowsTotal, rowsVerified, cutoverMs, reversed, ending, error } = record
  return {
    id,
    keyspace,
    slots: formatRanges(record.ranges),
    source: record.source.id,
    target: record.target.id,
    state,
    progress: fractionDone(record),
    rowsCopied,
    rowsTotal,
    rowsVerified,
    cutoverMs,
    reversed,
    createdAt: rfc3339(record.createdAt),
    settlesAt: record.settlesAt === null ? null : rfc3339(record.settlesAt),
    ...(ending === null ? {} : { ending }),
    ...(error === null ? {} : { error }),
    ...notesOf(record),
  }
}

function notesOf({ state, interrupted, stuck, leftAlone, captured, captureStopped }: MoveRecord): Partial<Move> {
  const settles = state === 'settling' || state === 'purging'
  return {
    ...(interrupted === null || isOver({ state }) ? {} : { interrupted }),
    ...(stuck === null ? {} : { stuck }),
    ...(leftAlone === null ? {} : { leftAlone }),
    ...(settles && !captureStopped ? { captured, capturedMax: limits.moveLogRowsMax } : {}),
    ...(settles && captureStopped ? { captureStopped } : {}),
  }
}
