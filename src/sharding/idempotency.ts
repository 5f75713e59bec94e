import { type Clock, HOUR_MS } from '../core/clock.ts'
import { hmac, sha256Hex } from '../core/digest.ts'
import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { isTaken } from './answers.ts'
import { always, type ShardDatabase, type ShardStatement, type Shards, type SqlCondition } from './shards.ts'

/** The `Idempotency-Key` of a request, and the request it was sent with: method, path and body. */
export interface RetryKey {
  key: string
  request: string
}

export const keyReused = (): BanyanError =>
  new BanyanError(
    'IDEMPOTENCY_KEY_REUSED',
    'This Idempotency-Key was already used for another request. Send a new key with each new request.',
  )

/** The first answer as it was stored, without secrets. */
export interface KeptAnswer<Answer = unknown> {
  userId: string
  attemptId: string
  status: number // 0: not answered yet
  answer: Answer
}

interface KeptRow {
  bodyHmac: string
  userId: string
  attemptId: string
  status: number
  answer: string
}

/**
 * One effect and one answer per key (24 h). The key's row is inserted in the effect's own batch, in the slot that the
 * effect changes, so it moves with that slot. Bodies are stored as a keyed HMAC, because they may hold a password.
 */
export class Idempotency {
  readonly #shards: Shards
  readonly #clock: Clock
  readonly #signingKey: string
  readonly #onReplay: () => void

  /**
   * `onReplay` is called when a request acknowledges the effect of an earlier one. Its client may have lost what came
   * with the first answer.
   */
  constructor(shards: Shards, clock: Clock, signingKey: string, onReplay: () => void = () => undefined) {
    this.#shards = shards
    this.#clock = clock
    this.#signingKey = signingKey
    this.#onReplay = onReplay
  }

  /** Call after an exact read without a key has found that an earlier request had the same effect. */
  foundDone(): void {
    this.#onReplay()
  }

  /** The row id of a signed-in user's key, in the user's slot. */
  ownedId = (userId: string, { key }: RetryKey): string => `${userId}.${sha256Hex(key)}`

  /** The row id of a sign-up's key. No user exists yet, so the row lives in the slot of its own hash. */
  signUpId = ({ key }: RetryKey): string => sha256Hex(`sign-up\0${key}`)

  /**
   * Statements that make a second batch with this key fail as a whole. They delete an expired row of the same key.
   * `onlyIf` keeps the answer only if the effect happens.
   */
  statements(
    database: ShardDatabase,
    id: string,
    retry: RetryKey,
    kept: KeptAnswer,
    onlyIf = always,
  ): ShardStatement[] {
    const now = this.#clock.now()
    return [
      database.prepare('DELETE FROM idempotency_keys WHERE id = ? AND expires_at <= ?').bind(id, now),
      database
        .prepare(
          `INSERT INTO idempotency_keys (id, body_hmac, user_id, attempt_id, status, answer, expires_at)
           SELECT ?, ?, ?, ?, ?, ?, ? WHERE ${onlyIf.sql}`,
        )
        .bind(
          id,
          this.#bodyHmac(retry),
          kept.userId,
          kept.attemptId,
          kept.status,
          JSON.stringify(kept.answer),
          now + limits.idempotencyKeyHours * HOUR_MS,
          ...onlyIf.values,
        ),
    ]
  }

  /** True if a batch failed because its key was already used. */
  isUsed(error: unknown): boolean {
    return isTaken(error, 'idempotency_keys')
  }

  /** The answer stored under a key, or null. Throws IDEMPOTENCY_KEY_REUSED if the key was used for another request. */
  async find<Answer = unknown>(id: string, retry: RetryKey): Promise<KeptAnswer<Answer> | null> {
    const row = await this.#shards
      .of(id, { read: 'exact', operation: 'idempotency.find' })
      .prepare(
        `SELECT body_hmac AS bodyHmac, user_id AS userId, attempt_id AS attemptId, status, answer FROM idempotency_keys
         WHERE id = ? AND expires_at > ?`,
      )
      .bind(id, this.#clock.now())
      .first<KeptRow>()
    if (!row) return null
    if (row.bodyHmac !== this.#bodyHmac(retry)) throw keyReused()
    this.#onReplay()
    return { userId: row.userId, attemptId: row.attemptId, status: row.status, answer: JSON.parse(row.answer) }
  }

  /**
   * Commits a signed-in user's batch once per key. `commit` gets the statements to add to its batch, after its proof.
   * Resolves to `committed` with the result of `commit`, or to `kept` with the first answer if the key was already
   * used.
   */
  async once<T, Answer>(
    userId: string,
    retry: RetryKey | null,
    database: ShardDatabase,
    first: { status: number; answer: Answer; onlyIf?: SqlCondition },
    commit: (statements: ShardStatement[]) => Promise<T>,
  ): Promise<{ committed: T } | { kept: KeptAnswer<Answer> }> {
    if (!retry) return { committed: await commit([]) }
    const id = this.ownedId(userId, retry)
    try {
      const { status, answer, onlyIf } = first
      const statements = this.statements(database, id, retry, { userId, attemptId: '', status, answer }, onlyIf)
      return { committed: await commit(statements) }
    } catch (error) {
      if (!this.isUsed(error)) throw error
      const kept = await this.find<Answer>(id, retry)
      if (!kept)
        throw new BanyanError('CONFLICT', 'This Idempotency-Key has just expired. Send the request with a new key.', {
          cause: error,
        })
      return { kept }
    }
  }

  /** Releases a sign-up's key after the attempt failed. */
  async release(id: string, attemptId: string): Promise<void> {
    await this.#shards
      .of(id, { operation: 'idempotency.release', idempotent: true })
      .prepare('DELETE FROM idempotency_keys WHERE id = ? AND attempt_id = ? AND status = 0')
      .bind(id, attemptId)
      .run()
  }

  #bodyHmac(retry: RetryKey): string {
    return hmac(this.#signingKey, `idempotency.${retry.request}`)
  }
}
