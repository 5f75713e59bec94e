import { type Clock, HOUR_MS } from '../core/clock.ts'
import { sha256Hex } from '../core/digest.ts'
import { limits } from '../core/limits.ts'
import type { DirectoryStorage } from '../sharding/directory.ts'
import { keyReused, type RetryKey } from '../sharding/idempotency.ts'

/** Runs an effect, synchronously and in one transaction with keeping its answer; or gives the answer of the first time. */
export type Once<T> = (effect: () => T) => T

/** For an effect that nobody sends again. */
export const unkept = <T>(effect: () => T): T => effect()

/** The moves that a request has recorded in earlier transactions than the one that keeps its answer. */
export interface Parts {
  /** Their ids, in the order of recording. An attempt that broke off has left them. */
  moves(): string[]
  /** To be called in the transaction that records these. */
  add(moveIds: string[]): void
}

/** For a request without an Idempotency-Key: it is never resumed. */
export const noParts: Parts = { moves: () => [], add: () => undefined }

/**
 * What the directory answered operators under an `Idempotency-Key` (24 h): kept in its own storage, in the transaction of
 * the effect. What was refused had no effect, and is not kept.
 */
export class KeptAnswers {
  readonly #storage: DirectoryStorage
  readonly #clock: Clock
  /** Requests at work in this object, by their key: the same one sent again waits for the first. */
  readonly #running = new Map<string, Promise<unknown>>()

  constructor(storage: DirectoryStorage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    storage.rows(
      `CREATE TABLE IF NOT EXISTS kept_answers (key_hash TEXT PRIMARY KEY, request_hash TEXT NOT NULL,
       answer TEXT NOT NULL, expires_at INTEGER NOT NULL)`,
    )
    // A row holds 2 MB, and thousands of planned moves are more.
    storage.rows(
      `CREATE TABLE IF NOT EXISTS kept_rests (key_hash TEXT NOT NULL, number INTEGER NOT NULL, answer TEXT NOT NULL,
       PRIMARY KEY (key_hash, number))`,
    )
    storage.rows(
      `CREATE TABLE IF NOT EXISTS kept_parts (number INTEGER PRIMARY KEY, request TEXT NOT NULL, move_id TEXT NOT NULL,
       expires_at INTEGER NOT NULL)`,
    )
    storage.rows('CREATE INDEX IF NOT EXISTS kept_parts_of ON kept_parts (request)')
  }

  /**
   * Answers as the first time, or by `work`, which runs what it does once. Answers are kept as JSON. Throws
   * IDEMPOTENCY_KEY_REUSED where the key came with another request.
   */
  async answer<T>(retry: RetryKey | null, work: (once: Once<T>, parts: Parts) => Promise<T>): Promise<T> {
    if (!retry) return work(unkept, noParts)
    for (let running = this.#running.get(retry.key); running; running = this.#running.get(retry.key)) await running
    // Before all that may wait, or refuse what the first time has changed.
    const kept = this.#find(retry)
    if (kept) return kept.answer as T
    const answer = work((effect) => this.#once(retry, effect), this.#parts(retry))
    const over = () => void this.#running.delete(retry.key)
    this.#running.set(retry.key, answer.then(over, over))
    return answer
  }

  #once<T>(retry: RetryKey, effect: () => T): T {
    return this.#storage.transaction(() => {
      const kept = this.#find(retry)
      if (kept) return kept.answer as T
      const answer = effect()
      const now = this.#clock.now()
      this.#storage.rows('DELETE FROM kept_answers WHERE expires_at <= ?', now)
      this.#storage.rows('DELETE FROM kept_rests WHERE key_hash NOT IN (SELECT key_hash FROM kept_answers)')
      this.#storage.rows('DELETE FROM kept_parts WHERE request = ? OR expires_at <= ?', requestOf(retry), now)
      const keyHash = sha256Hex(retry.key)
      const text = JSON.stringify(answer)
      this.#storage.rows(
        'INSERT INTO kept_answers (key_hash, request_hash, answer, expires_at) VALUES (?, ?, ?, ?)',
        keyHash,
        sha256Hex(retry.request),
        text.slice(0, PIECE_CHARACTERS),
        now + limits.idempotencyKeyHours * HOUR_MS,
      )
      for (let from = PIECE_CHARACTERS; from < text.length; from += PIECE_CHARACTERS)
        this.#storage.rows(
          'INSERT INTO kept_rests (key_hash, number, answer) VALUES (?, ?, ?)',
          keyHash,
          from / PIECE_CHARACTERS,
          text.slice(from, from + PIECE_CHARACTERS),
        )
      return answer
    })
  }

  #parts(retry: RetryKey): Parts {
    const request = requestOf(retry)
    return {
      moves: () =>
        this.#storage
          .rows<{ id: string }>(
            'SELECT move_id AS id FROM kept_parts WHERE request = ? AND expires_at > ? ORDER BY number',
            request,
            this.#clock.now(),
          )
          .map(({ id }) => id),
      add: (moveIds) => {
        const expiresAt = this.#clock.now() + limits.idempotencyKeyHours * HOUR_MS
        for (const id of moveIds)
          this.#storage.rows(
            'INSERT INTO kept_parts (request, move_id, expires_at) VALUES (?, ?, ?)',
            request,
            id,
            expiresAt,
          )
      },
    }
  }

  #find({ key, request }: RetryKey): { answer: unknown } | null {
    const [row] = this.#storage.rows<{ requestHash: string; answer: string }>(
      'SELECT request_hash AS requestHash, answer FROM kept_answers WHERE key_hash = ? AND expires_at > ?',
      sha256Hex(key),
      this.#clock.now(),
    )
    if (!row) return null
    if (row.requestHash !== sha256Hex(request)) throw keyReused()
    const rests = this.#storage.rows<{ answer: string }>(
      'SELECT answer FROM kept_rests WHERE key_hash = ? ORDER BY number',
      sha256Hex(key),
    )
    return { answer: JSON.parse([row, ...rests].map(({ answer }) => answer).join('')) }
  }
}

/** Of three bytes at most, so a piece stays below the 2 MB of a row. */
const PIECE_CHARACTERS = 500_000

const requestOf = ({ key, request }: RetryKey): string => sha256Hex(`${key}\0${request}`)
