import { type Clock, HOUR_MS } from '../core/clock.ts'
import { sha256Hex } from '../core/digest.ts'
import { limits } from '../core/limits.ts'
import type { DirectoryStorage } from '../sharding/directory.ts'
import { keyReused, type RetryKey } from '../sharding/idempotency.ts'

/** Runs an effect, synchronously and in one transaction with keeping its answer; or gives the answer of the first time. */
export type Once<T> = (effect: () => T) => T

/** For an effect that nobody sends again. */
export const unkept = <T>(effect: () => T): T => effect()

/**
 * What the directory answered operators under an `Idempotency-Key` (24 h): kept in its own storage, in the transaction of
 * the effect. What was refused had no effect, and is not kept.
 */
export class KeptAnswers {
  readonly #storage: DirectoryStorage
  readonly #clock: Clock

  constructor(storage: DirectoryStorage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    storage.rows(
      `CREATE TABLE IF NOT EXISTS kept_answers (key_hash TEXT PRIMARY KEY, request_hash TEXT NOT NULL,
       answer TEXT NOT NULL, expires_at INTEGER NOT NULL)`,
    )
  }

  /**
   * Answers as the first time, or by `work`, which runs what it does once. Answers are kept as JSON. Throws
   * IDEMPOTENCY_KEY_REUSED where the key came with another request.
   */
  async answer<T>(retry: RetryKey | null, work: (once: Once<T>) => Promise<T>): Promise<T> {
    if (!retry) return work(unkept)
    // Before all that may wait, or refuse what the first time has changed.
    const kept = this.#find(retry)
    return kept ? (kept.answer as T) : work((effect) => this.#once(retry, effect))
  }

  #once<T>(retry: RetryKey, effect: () => T): T {
    return this.#storage.transaction(() => {
      const kept = this.#find(retry)
      if (kept) return kept.answer as T
      const answer = effect()
      const now = this.#clock.now()
      this.#storage.rows('DELETE FROM kept_answers WHERE expires_at <= ?', now)
      this.#storage.rows(
        'INSERT INTO kept_answers (key_hash, request_hash, answer, expires_at) VALUES (?, ?, ?, ?)',
        sha256Hex(retry.key),
        sha256Hex(retry.request),
        JSON.stringify(answer),
        now + limits.idempotencyKeyHours * HOUR_MS,
      )
      return answer
    })
  }

  #find({ key, request }: RetryKey): { answer: unknown } | null {
    const [row] = this.#storage.rows<{ requestHash: string; answer: string }>(
      'SELECT request_hash AS requestHash, answer FROM kept_answers WHERE key_hash = ? AND expires_at > ?',
      sha256Hex(key),
      this.#clock.now(),
    )
    if (!row) return null
    if (row.requestHash !== sha256Hex(request)) throw keyReused()
    return { answer: JSON.parse(row.answer) }
  }
}
