import type { Clock } from '../../src/core/clock.ts'

const VISIBLE_AFTER_MS = 120_000
const CACHED_MS = 60_000
const WRITES_APART_MS = 1_000

interface Version {
  at: number
  value: string | null
}

/**
 * KV at its worst: a write or deletion becomes visible after 120 s, a value that was read (a miss too) is served for
 * another 60 s, a key takes one write per second, and every call may fail.
 */
export class UnkindKv {
  /** Calls that arrived, for example `get session:…`. */
  readonly calls: string[] = []
  isDown = false
  readonly #clock: Clock
  readonly #versions = new Map<string, Version[]>()
  readonly #cached = new Map<string, { value: string | null; until: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get binding(): KVNamespace {
    return this as unknown as KVNamespace
  }

  count(operation: 'get' | 'put' | 'delete'): number {
    return this.calls.filter((call) => call.startsWith(`${operation} `)).length
  }

  async get(key: string): Promise<unknown> {
    this.#call('get', key)
    const now = this.#clock.now()
    const cached = this.#cached.get(key)
    if (cached && cached.until > now) return parsed(cached.value)
    const seen = this.#versions.get(key)?.findLast(({ at }) => at + VISIBLE_AFTER_MS <= now)
    const value = seen?.value ?? null
    this.#cached.set(key, { value, until: now + CACHED_MS })
    return parsed(value)
  }

  async put(key: string, value: string): Promise<void> {
    this.#call('put', key)
    this.#write(key, value)
  }

  async delete(key: string): Promise<void> {
    this.#call('delete', key)
    this.#write(key, null)
  }

  /** Makes everything written so far visible. Later writes are delayed again. */
  arrive(): void {
    this.#cached.clear()
    for (const versions of this.#versions.values()) for (const version of versions) version.at -= VISIBLE_AFTER_MS
  }

  #write(key: string, value: string | null): void {
    const versions = this.#versions.get(key) ?? []
    const now = this.#clock.now()
    if (versions.some(({ at }) => Math.abs(now - at) < WRITES_APART_MS))
      throw new Error('KV PUT failed: 429 Too Many Requests')
    this.#versions.set(key, [...versions, { at: now, value }])
  }

  #call(operation: string, key: string): void {
    this.calls.push(`${operation} ${key}`)
    if (this.isDown) throw new Error(`KV ${operation} failed: 500 Internal Server Error`)
  }
}

const parsed = (value: string | null): unknown => (value === null ? null : JSON.parse(value))
