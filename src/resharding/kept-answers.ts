import { type Clock, HOUR_MS } from '../core/clock.ts'
import { sha256Hex } from '../core/digest.ts'
import { limits } from '../core/limits.ts'
import type { DirectoryStorage } from '../sharding/directory-storage.ts'
import { keyReused, type RetryKey } from '../sharding/idempotency.ts'

/** Runs an effect and keeps its answer in one synchronous transaction. On a retry, returns the kept answer. */
export type Once<T> = (effect: () => T) => T

/** A `Once` for an effect that is never retried: it keeps no answer. */
export const unkept = <T>(effect: () => T): T => effect()

/** The moves that a request recorded before the transaction that keeps its answer. */
export interface Parts {
  /** Their ids, in the order of recording. An interrupted attempt may have left some. */
  moves(): string[]
  /** Call this in the transaction that records these moves. */
  add(moveIds: string[]): void
}

/** The parts of a request without an Idempotency-Key, which is never resumed. */
export const noParts: Parts = { moves: () => [], add: () => undefined }

/**
 * Keeps the directory's answers to operators by `Idempotency-Key` (24 h), in the directory's own storage and in the
 * effect's transaction. A refused request had no effect, so its answer is not kept.
 */
export class KeptAnswers {
  readonly #storage: DirectoryStorage
  readonly #clock: Clock
  /** Requests in progress in this object, by key. A retry waits for the first request. */
  readonly #running = new Map<string, Promise<unknown>>()

  constructor(storage: DirectoryStorage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    storage.rows(
      `CREATE TABLE IF NOT EXISTS kept_answers (key_hash TEXT PRIMARY KEY, request_hash TEXT NOT NULL,
       answer TEXT NOT NULL, expires_at INTEGER NOT NULL)`,
    )
    // A row holds at most 2 MB, which thousands of planned moves exceed.
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
   * Returns the kept answer, or runs `work`, which runs its effect once. Answers are kept as JSON. Throws
   * IDEMPOTENCY_KEY_REUSED if the key was used for another request.
   */
  async answer<T>(retry: RetryKey | null, work: (once: Once<T>, parts: Parts) => Promise<T>): Promise<T> {
    if (!retry) return work(unkept, noParts)
    for (let running = this.#running.get(retry.key); running; running = this.#running.get(retry.key)) await running
    // Look before `work` waits, or refuses a state that the first request has already changed.
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

/** A character has at most three bytes, so a piece stays below a row's 2 MB. */
const PIECE_CHARACTERS = 500_000

const requestOf = ({ key, request }: RetryKey): string => sha256Hex(`${key}\0${request}`)
