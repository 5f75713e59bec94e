import { BanyanError, MIGRATE, messageOf } from '../core/errors.ts'
import { BudgetSpent } from './statement-budget.ts'

/** What a shard's answer means for the router (docs/sharding.md). */
export type Answer =
  | { kind: 'refused'; code: string } // RAISE(ABORT, code): the batch rolled back whole
  | { kind: 'constraint'; sqliteCode: string }
  | { kind: 'not-migrated' }
  | { kind: 'statement'; sqliteCode: string } // a bug; nothing was applied
  | { kind: 'full' } // the database has no room left; nothing was applied
  | { kind: 'overloaded' } // the database's queue was full; nothing was applied
  | { kind: 'unsent' } // the invocation's budget is spent; nothing was applied
  | { kind: 'daily-limit' } // the free plan's limit; nothing can be applied before midnight UTC
  | { kind: 'transient' } // a network or storage error, or no answer in time; it may have been applied

/** Answers that do not depend on the statements. None was applied; each may be sent again once the cause is over. */
export type Unapplied = Extract<Answer, { kind: 'full' | 'overloaded' | 'unsent' | 'daily-limit' }>

const REFUSED = /^D1_ERROR: ([A-Z][A-Z_]+): SQLITE_CONSTRAINT/
const SQLITE_CODE = /\b(SQLITE_[A-Z]+)\b(?:.*\bextended: (SQLITE_[A-Z_]+))?/
/**
 * A statement that never ran and has no SQLite code: a value that can't be bound, a wrong number of values, or a text
 * that the runtime rejects. The runtime reports these before it runs the statement, and the batch rolls back as a
 * whole.
 */
const MISUSE =
  /^D1_(TYPE|EXEC)_ERROR|^D1_ERROR: (Wrong number of parameter bindings|No SQL statements detected|To execute a transaction|SQL code did not contain a statement|A prepared SQL statement must contain only one statement|When executing multiple SQL statements in a single call|A SQL prepared statement can only be executed once at a time)/
/**
 * D1's own error texts, as Cloudflare publishes them: the error list
 * (developers.cloudflare.com/d1/observability/debug-d1), and the changelog of 2026-09-01 for the daily limits. The
 * local runtime produces only SQLite's texts. A text that is not listed is treated as unknown, so the batch may have
 * been applied. That includes "D1 DB is overloaded. Requests queued for too long.", because nothing published says that
 * such a request did not run in part.
 */
const PUBLISHED: [RegExp, Unapplied['kind']][] = [
  [/\bSQLITE_FULL\b|\bdatabase or disk is full\b/, 'full'],
  [/\bExceeded maximum DB size\b/i, 'full'],
  [/\byour account has exceeded D1's maximum account storage limit\b/i, 'full'],
  [/\bD1 DB is overloaded\. Too many requests queued\b/, 'overloaded'],
  [/\byour account has exceeded D1's free tier daily row (read|write) limit\b/i, 'daily-limit'],
]
const APPLIED_NOTHING = new Set([
  'SQLITE_CONSTRAINT',
  'SQLITE_ERROR',
  'SQLITE_MISMATCH',
  'SQLITE_TOOBIG',
  'SQLITE_RANGE',
  'SQLITE_AUTH',
  'SQLITE_READONLY',
])

/** Classifies D1's error. D1 gives only text; test/workerd/sharding/answers.test.ts checks its form. */
export function answerOf(error: unknown): Answer {
  if (error instanceof BudgetSpent) return { kind: 'unsent' }
  const message = messageOf(error)
  const refused = REFUSED.exec(message)
  if (refused?.[1]) return { kind: 'refused', code: refused[1] }
  if (/no such table/.test(message)) return { kind: 'not-migrated' }
  const published = PUBLISHED.find(([text]) => text.test(message))
  if (published) return { kind: published[1] }
  const [, code, extended] = SQLITE_CODE.exec(message) ?? []
  if (code && APPLIED_NOTHING.has(code)) {
    const sqliteCode = extended ?? code
    return code === 'SQLITE_CONSTRAINT' ? { kind: 'constraint', sqliteCode } : { kind: 'statement', sqliteCode }
  }
  if (MISUSE.test(message)) return { kind: 'statement', sqliteCode: 'SQLITE_MISUSE' }
  return { kind: 'transient' }
}

export const isUnapplied = (answer: Answer): answer is Unapplied =>
  answer.kind === 'full' || answer.kind === 'overloaded' || answer.kind === 'unsent' || answer.kind === 'daily-limit'

/**
 * A statement that the database refused, with the message and cause of D1's own error. `sqliteCode` is SQLite's result
 * code, extended if D1 reports it.
 */
export class DatabaseError extends BanyanError {
  readonly sqliteCode: string

  constructor(code: 'DATABASE_CONSTRAINT' | 'DATABASE_ERROR', sqliteCode: string, error: unknown) {
    super(code, messageOf(error), { cause: causeOf(error) })
    this.sqliteCode = sqliteCode
  }
}

const causeOf = (error: unknown): unknown => (error instanceof Error ? error.cause : undefined)

/** The error for a statement or value that D1 would refuse, with D1's message. The statement is not sent. */
export function misuse(text: string, prefix = 'D1_ERROR'): DatabaseError {
  const error = new Error(`${prefix}: ${text}`, { cause: new Error(text) })
  return new DatabaseError('DATABASE_ERROR', 'SQLITE_MISUSE', error)
}

/** A missing table: a migration is pending, or the name is wrong. */
export const notMigrated = (error: unknown) =>
  new BanyanError('MIGRATIONS_PENDING', messageOf(error), {
    cause: causeOf(error),
    hint: `If a migration creates the table, run: ${MIGRATE}`,
  })

/** A write that may have been applied. It is sent again only if the caller declared it idempotent. */
export class OutcomeUnknownError extends BanyanError {
  readonly outcome = 'unknown'

  constructor(cause: unknown) {
    super('OUTCOME_UNKNOWN', 'The database’s answer was lost. Send the request again with the same Idempotency-Key.', {
      cause,
      retryAfterSeconds: 1,
    })
  }
}

/** Refusals of Banyan's own triggers that have their own error texts. */
const ownRefusals = ['SESSION_ENDED', 'ROW_TOO_LARGE'] as const

/** The error of a trigger's `RAISE(ABORT, 'OUT_OF_STOCK')`. `refusal` is that text; the message is D1's. */
export class RefusedError extends DatabaseError {
  readonly refusal: string

  constructor(refusal: string, error: unknown) {
    super('DATABASE_CONSTRAINT', 'SQLITE_CONSTRAINT_TRIGGER', error)
    this.refusal = refusal
  }
}

/** The error for a trigger's refusal. */
export function refusedError(refusal: string, error: unknown): BanyanError {
  const own = ownRefusals.find((code) => code === refusal)
  return own ? new BanyanError(own, undefined, { cause: error }) : new RefusedError(refusal, error)
}

/** The last entry covers D1 texts without the extended code. A sharded table has no UNIQUE other than its key. */
const keyIsTaken = new Set(['SQLITE_CONSTRAINT_PRIMARYKEY', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT'])

/** True if a batch failed because a row with this table's key already exists. */
export const isTaken = (error: unknown, table: string): boolean =>
  error instanceof DatabaseError &&
  keyIsTaken.has(error.sqliteCode) &&
  error.message.includes(`UNIQUE constraint failed: ${table}.`)
