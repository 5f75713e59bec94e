import { type Clock, inTime, systemClock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'

/** KV refuses a shorter time to live. */
const TTL_SECONDS_MIN = 60

/**
 * Copies of records whose authoritative version is in a shard. KV may return an old value, or none, for a minute or
 * more, so no decision depends on it. If KV fails, or does not answer within 250 ms, the read is a miss.
 */
export class KvStore {
  readonly #kv: KVNamespace
  readonly #log: Log

  readonly #onCall: () => void
  readonly #clock: Clock

  /** Calls `onCall` once per call to KV, for counting. */
  constructor(kv: KVNamespace, log: Log, onCall: () => void, clock: Clock = systemClock) {
    this.#kv = kv
    this.#log = log
    this.#onCall = onCall
    this.#clock = clock
  }

  get<T>(key: string): Promise<T | null> {
    return this.#quietly('get', key, limits.kvWaitMs, () => this.#kv.get<T>(key, 'json'))
  }

  getText(key: string): Promise<string | null> {
    return this.#quietly('get', key, limits.kvWaitMs, () => this.#kv.get(key, 'text'))
  }

  /** The texts of those keys that have one, in one call per 100 keys. */
  async getTexts(keys: string[]): Promise<Map<string, string>> {
    const found = new Map<string, string>()
    // One key that is too long would fail the whole call.
    const storable = keys.filter((key) => Buffer.byteLength(key) <= limits.kvKeyBytesMax)
    const calls = Math.ceil(storable.length / limits.kvKeysMax)
    const reads = Array.from({ length: calls }, async (_, index) => {
      const some = storable.slice(index * limits.kvKeysMax, (index + 1) * limits.kvKeysMax)
      const [first = ''] = some
      const texts = await this.#quietly('get', first, limits.kvWaitMs, () => this.#kv.get(some, 'text'))
      for (const [key, text] of texts ?? []) if (text !== null) found.set(key, text)
    })
    await Promise.all(reads)
    return found
  }

  /** The first keys that start with a prefix, in the order of their bytes. Empty if the call fails or is late. */
  async keys(prefix: string, max: number): Promise<string[]> {
    const list = await this.#quietly('list', prefix, limits.kvWaitMs, () => this.#kv.list({ prefix, limit: max }))
    return list?.keys.map(({ name }) => name) ?? []
  }

  async put(key: string, value: unknown, ttlSeconds: number): Promise<void> {
    const expirationTtl = Math.max(TTL_SECONDS_MIN, Math.floor(ttlSeconds))
    await this.#quietly('put', key, limits.kvWriteMs, () => this.#kv.put(key, JSON.stringify(value), { expirationTtl }))
  }

  async delete(key: string): Promise<void> {
    await this.#quietly('delete', key, limits.kvWriteMs, () => this.#kv.delete(key))
  }

  /** Null if the call fails or is late. */
  async #quietly<T>(operation: string, key: string, ms: number, call: () => Promise<T>): Promise<T | null> {
    this.#onCall()
    try {
      return await inTime(this.#clock, ms, call(), () => new Error(`KV did not answer within ${ms} ms`))
    } catch (error) {
      this.#log.warn('kv.failed', { operation, kind: key.split(':')[0], reason: messageOf(error) })
      return null
    }
  }
}
