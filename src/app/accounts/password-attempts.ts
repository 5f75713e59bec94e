import { HOUR_MS } from '../../core/clock.ts'
import { hmac } from '../../core/digest.ts'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { onlyRow, rowsOf } from '../../sharding/named-batch.ts'
import type { ShardDatabase, ShardStatement, SqlCondition } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'

/**
 * The throttle of password guesses. Every attempt is counted before its password is checked, in the batch that reads
 * the account. D1 applies one batch after another, so no concurrent guess is checked before it is counted.
 * After `passwordAttemptsFree` attempts without a success, each further one doubles the wait, up to `passwordWaitMsMax`.
 * A log-in forgets the attempts at the name that was typed, and a new password forgets all.
 */
export interface PasswordAttempt {
  /** The counter's row. */
  id: string
  /** The row names the latest admitted attempt, so a batch that is sent again is counted once. */
  attemptId: string
}

interface Counter {
  attemptId: string
  nextAt: number
}

/**
 * An attempt to log in as, or to prove a password of, `ownerId`. `purpose` separates counters, such as the login that
 * was typed. It is stored as an HMAC, because a user may type a password into the field of the login.
 */
export const passwordAttempt = (
  { ids, settings }: Pick<Tiers, 'ids' | 'settings'>,
  ownerId: string,
  purpose: string,
): PasswordAttempt => ({
  id: `${ownerId}.${hmac(settings.signingKey, `password-attempt.${purpose}`)}`,
  attemptId: ids.plain(),
})

/** Statements that count the attempt if it is admitted. `counter` shows whether it was. */
export function attemptStatements(
  { clock }: Pick<Tiers, 'clock'>,
  database: ShardDatabase,
  { id, attemptId }: PasswordAttempt,
) {
  return {
    counted: database
      .prepare(
        `INSERT INTO password_attempts (id, attempt_id, attempts, next_at, expires_at) VALUES (?1, ?2, 1, ?3, ?3 + ?4)
         ON CONFLICT (id) DO UPDATE SET
           attempt_id = excluded.attempt_id,
           attempts = iif(expires_at <= ?3, 1, attempts + 1),
           next_at = ?3 + iif(expires_at <= ?3 OR attempts + 1 < ?5, 0, min(?7, ?6 << min(attempts + 1 - ?5, 20))),
           expires_at = excluded.expires_at
         WHERE next_at <= ?3 AND attempt_id <> excluded.attempt_id`,
      )
      .bind(
        id,
        attemptId,
        clock.now(),
        limits.passwordAttemptsHours * HOUR_MS,
        limits.passwordAttemptsFree,
        limits.passwordWaitMs,
        limits.passwordWaitMsMax,
      ),
    counter: rowsOf<Counter>(
      database
        .prepare('SELECT attempt_id AS attemptId, next_at AS nextAt FROM password_attempts WHERE id = ?')
        .bind(id),
    ),
  }
}

/** Throws RATE_LIMITED unless the attempt was admitted. */
export function refuseUnlessAdmitted(
  { clock }: Pick<Tiers, 'clock'>,
  { attemptId }: PasswordAttempt,
  counter: D1Result<Counter>,
): void {
  const { attemptId: admitted, nextAt } = onlyRow(counter)
  if (admitted === attemptId) return
  const retryAfterSeconds = Math.max(1, Math.ceil((nextAt - clock.now()) / 1_000))
  throw new BanyanError(
    'RATE_LIMITED',
    `Too many attempts with a wrong password. Try again in ${retryAfterSeconds} seconds, or reset the password.`,
    { retryAfterSeconds },
  )
}

/** Forgets the attempts that this counter counted, if the condition holds. The user's other names keep theirs. */
export const forgetAttempt = (database: ShardDatabase, { id }: PasswordAttempt, onlyIf: SqlCondition): ShardStatement =>
  database.prepare(`DELETE FROM password_attempts WHERE id = ? AND ${onlyIf.sql}`).bind(id, ...onlyIf.values)

/** Forgets all attempts at this user's password if the condition holds. The ids that start with `<user id>.` end before `<user id>/`. */
export const forgetAttempts = (database: ShardDatabase, userId: string, onlyIf: SqlCondition): ShardStatement =>
  database
    .prepare(`DELETE FROM password_attempts WHERE id >= ? AND id < ? AND ${onlyIf.sql}`)
    .bind(`${userId}.`, `${userId}/`, ...onlyIf.values)
