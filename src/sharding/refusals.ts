import { type Clock, DAY_MS, type TimeBudget } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type Answer, answerOf, DatabaseError, notMigrated, refusedError } from './answers.ts'
import type { ShardEntry } from './shard-map.ts'

export type CallKind = 'read' | 'exact-read' | 'write'

export type SlotRefusalCode = 'SLOT_FENCED' | 'SLOT_NOT_OWNED'

export class SlotRefusal extends Error {
  readonly code: SlotRefusalCode

  constructor(code: SlotRefusalCode) {
    super(code)
    this.code = code
  }
}

/** A shard's answer to a failed call. The refusal of an exact read counts like that of a write. */
export const answerOrRefusal = (error: unknown): Answer =>
  error instanceof SlotRefusal ? { kind: 'refused', code: error.code } : answerOf(error)

/** A fenced source does not answer exact reads, because the target may already be writable. */
export function refuseUnlessOwned(state: string | undefined): void {
  const refusal = refusalOf(state)
  if (refusal) throw new SlotRefusal(refusal)
}

/** The refusal that the application gets for a slot in this state, or null if the slot is served. */
export function refusalOf(state: string | undefined): SlotRefusalCode | null {
  if (state === 'active' || state === 'moving') return null
  return state === 'fenced' || state === 'importing' ? 'SLOT_FENCED' : 'SLOT_NOT_OWNED'
}

export const isSlotRefusal = (answer: Answer): answer is { kind: 'refused'; code: SlotRefusalCode } =>
  answer.kind === 'refused' && (answer.code === 'SLOT_FENCED' || answer.code === 'SLOT_NOT_OWNED')

const slotDetail = {
  SLOT_FENCED: 'The data is being moved to another database. Nothing was written. Try again in a moment.',
  SLOT_NOT_OWNED:
    'The data has moved, and this server does not know its new database yet. Nothing was written. Try again in a moment.',
}

export const slotRefused = (code: SlotRefusalCode) => new BanyanError(code, slotDetail[code], { retryAfterSeconds: 1 })

export function typedError(
  answer: Exclude<Answer, { kind: 'transient' }>,
  cause: unknown,
  clock: Pick<Clock, 'now'>,
): BanyanError {
  switch (answer.kind) {
    case 'refused':
      return refusedError(answer.code, cause)
    case 'constraint':
      return new DatabaseError('DATABASE_CONSTRAINT', answer.sqliteCode, cause)
    case 'statement':
      return new DatabaseError('DATABASE_ERROR', answer.sqliteCode, cause)
    case 'full':
      return new BanyanError('SHARD_FULL', `The database has no room left. ${UNWRITTEN} Reads still work.`, {
        cause,
      })
    case 'overloaded':
      return new BanyanError(
        'SHARD_UNAVAILABLE',
        `The database is overloaded (${messageOf(cause)}). ${UNWRITTEN} Try again.`,
        {
          cause,
          retryAfterSeconds: limits.unavailableRetryAfterSeconds,
        },
      )
    case 'daily-limit':
      return new BanyanError(
        'D1_DAILY_LIMIT',
        `The free plan’s daily limit of D1 is reached. ${UNWRITTEN} Wait until midnight UTC, or upgrade to the paid plan.`,
        { cause, retryAfterSeconds: secondsToMidnight(clock.now()) },
      )
    case 'unsent':
      return new BanyanError('BUDGET_SPENT', `${messageOf(cause)} Nothing was written. Send fewer items per request.`, {
        cause,
        retryAfterSeconds: 1,
      })
    case 'not-migrated':
      return notMigrated(cause)
  }
}

export const shardUnknown = (shard: ShardEntry) =>
  new BanyanError(
    'SHARD_UNKNOWN',
    `This version of the Worker has no binding ${shard.binding}. Deploy a version that has it.`,
    {
      retryAfterSeconds: 5,
    },
  )

/** The error for a shard that is read-only or being restored. Every router knows the state within a lease. */
export function stateRefusal({ id, state }: ShardEntry, kind: CallKind): BanyanError | null {
  if (state === 'restoring')
    return new BanyanError('SHARD_RESTORING', `${id} is being restored. Try again later.`, {
      retryAfterSeconds: limits.restoringRetryAfterSeconds,
    })
  if (state === 'read-only' && kind === 'write')
    return new BanyanError('SHARD_READ_ONLY', `${id} is read-only. Nothing was written. Try again later.`, {
      retryAfterSeconds: limits.readOnlyRetryAfterSeconds,
    })
  return null
}

/** Once the invocation's time is up, nothing more is sent. */
export function timeRefusal({ time }: { time?: TimeBudget }): BanyanError | null {
  if (!time?.isSpent) return null
  return new BanyanError('SHARD_UNAVAILABLE', `The request has used up its time. ${UNWRITTEN} Try again.`, {
    retryAfterSeconds: limits.unavailableRetryAfterSeconds,
  })
}

export const unavailable = (shard: ShardEntry, kind: CallKind, cause: unknown) =>
  new BanyanError(
    'SHARD_UNAVAILABLE',
    `${shard.id} does not answer (${messageOf(cause)}).${kind === 'write' ? ` ${UNWRITTEN}` : ''} Try again.`,
    { cause, retryAfterSeconds: limits.unavailableRetryAfterSeconds },
  )

const UNWRITTEN = 'Nothing was written.'

/**
 * Seconds until the free plan's limits reset at midnight UTC. At least one, because midnight may pass before the client
 * reads this.
 */
const secondsToMidnight = (now: number): number => Math.max(1, Math.ceil((DAY_MS - (now % DAY_MS)) / 1_000))
