import type { Clock } from '../../src/core/clock.ts'
import { silence } from './sharding-doubles.ts'

const VISIBLE_AFTER_MS_MAX = 120_000
const CACHE_SECONDS = 60
const CACHE_SECONDS_MIN = 30
const WRITES_APART_MS = 1_000
const TTL_SECONDS_MIN = 60
const KEY_BYTES_MAX = 512
const VALUE_BYTES_MAX = 26_214_400
const METADATA_BYTES_MAX = 1_024
const BULK_KEYS_MAX = 100

type Operation = 'get' | 'put' | 'delete'
/** `lost`: the call has its effect, but its answer is an error. `hangs`: it has no effect and never answers. */
type Fate = 'fails' | 'hangs' | 'lost'

export interface KvCall {
  operation: Operation
  /** One key, or the keys of a bulk read. */
  keys: string[]
  /** The location that asked. */
  location: string
}

interface LocationOptions {
  /** How long a write takes to become visible there. Default: the store's. */
  visibleAfterMs?: number | (() => number)
}

interface Entry {
  value: string
  metadata: unknown
  expiresAt: number
}

interface Version {
  at: number
  entry: Entry | null
  /** The delay in each location, drawn when the location first looks. */
  delays: Map<string, number>
}

interface Found {
  value: unknown
  metadata: unknown
}

const NOTHING: Found = { value: null, metadata: null }

interface GetOptions {
  type?: string
  cacheTtl?: number
}

/**
 * KV at its worst, with the limits of the real thing. Each location sees a write or deletion after a delay (120 s unless
 * set), and serves what it has read (a miss too) for another 60 s. A key takes one write per second, over all locations.
 * A bulk read takes at most 100 keys. Each call may fail, lose its answer, or hang.
 */
export class UnkindKv {
  /** Calls that arrived, for example `get session:…`. A bulk read is one call: `get a b c`. */
  readonly calls: string[] = []
  isDown = false
  /** Decides what happens to a call. Default: nothing unusual. */
  fate: (call: KvCall) => Fate | null = () => null
  readonly #clock: Clock
  readonly #visibleAfterMs: number | (() => number)
  readonly #versions = new Map<string, Version[]>()
  readonly #locations = new Map<string, KvLocation>()

  constructor(clock: Clock, { visibleAfterMs = VISIBLE_AFTER_MS_MAX }: LocationOptions = {}) {
    this.#clock = clock
    this.#visibleAfterMs = visibleAfterMs
  }

  /** The binding of the only location, for tests that need no other. */
  get binding(): KVNamespace {
    return this.location('here').binding
  }

  /** The same location each time. The options count when it is first named. */
  location(name: string, { visibleAfterMs = this.#visibleAfterMs }: LocationOptions = {}): KvLocation {
    const known = this.#locations.get(name)
    if (known) return known
    const delayMs = typeof visibleAfterMs === 'number' ? () => visibleAfterMs : visibleAfterMs
    const location = new KvLocation(name, this, this.#clock, delayMs)
    this.#locations.set(name, location)
    return location
  }

  count(operation: Operation): number {
    return this.calls.filter((call) => call.startsWith(`${operation} `)).length
  }

  /** Reads JSON in the only location. */
  get(key: string): Promise<unknown> {
    return this.binding.get(key, 'json')
  }

  put(key: string, value: string): Promise<void> {
    return this.binding.put(key, value)
  }

  delete(key: string): Promise<void> {
    return this.binding.delete(key)
  }

  /** Makes everything written so far visible everywhere. Later writes are delayed again. */
  arrive(): void {
    for (const location of this.#locations.values()) location.forget()
    for (const versions of this.#versions.values()) for (const version of versions) version.at -= VISIBLE_AFTER_MS_MAX
  }

  /** Runs a call that a location received, or lets it meet its fate. */
  async arriving<T>(call: KvCall, run: () => T): Promise<T> {
    this.calls.push(`${call.operation} ${call.keys.join(' ')}`)
    const fate = this.isDown ? 'fails' : this.fate(call)
    if (fate === 'hangs') return silence()
    const failed = refusal(call.operation, '500 Internal Server Error')
    if (fate === 'fails') throw failed
    const answer = run()
    if (fate === 'lost') throw failed
    return answer
  }

  /** The newest entry that the location can see. */
  seenFrom(location: string, key: string, delayMs: () => number): Entry | null {
    const now = this.#clock.now()
    const seen = this.#versions.get(key)?.findLast(({ at, delays }) => {
      const delay = delays.get(location) ?? delayMs()
      delays.set(location, delay)
      return at + delay <= now
    })
    return seen?.entry ?? null
  }

  write(operation: Operation, key: string, entry: Entry | null): void {
    const versions = this.#versions.get(key) ?? []
    const now = this.#clock.now()
    if (versions.some(({ at }) => Math.abs(now - at) < WRITES_APART_MS))
      throw refusal(operation, '429 Too Many Requests')
    // Every location sees the newest of the old versions, or a later one.
    const seenByAll = versions.findLastIndex(({ at }) => at + VISIBLE_AFTER_MS_MAX <= now)
    this.#versions.set(key, [...versions.slice(Math.max(0, seenByAll)), { at: now, entry, delays: new Map() }])
  }
}

/** KV as one location sees it. */
export class KvLocation {
  readonly #name: string
  readonly #store: UnkindKv
  readonly #clock: Clock
  readonly #delayMs: () => number
  readonly #cached = new Map<string, { entry: Entry | null; until: number }>()

  constructor(name: string, store: UnkindKv, clock: Clock, delayMs: () => number) {
    this.#name = name
    this.#store = store
    this.#clock = clock
    this.#delayMs = delayMs
  }

  get binding(): KVNamespace {
    const binding = {
      get: (keys: string | string[], options?: string | GetOptions) =>
        this.#get(keys, options, (found) => found?.value ?? null),
      getWithMetadata: (keys: string | string[], options?: string | GetOptions) =>
        this.#get(keys, options, (found) =>
          Array.isArray(keys) ? found : { ...(found ?? NOTHING), cacheStatus: null },
        ),
      put: (key: string, value: string, options?: KVNamespacePutOptions) => this.#put(key, value, options),
      delete: (key: string) => this.#delete(key),
    }
    return binding as unknown as KVNamespace
  }

  /** Drops what this location has read. */
  forget(): void {
    this.#cached.clear()
  }

  async #get<T>(
    given: string | string[],
    options: string | GetOptions = {},
    answer: (found: Found | null) => T,
  ): Promise<T | Map<string, T>> {
    const isBulk = Array.isArray(given)
    const keys = isBulk ? given : [given]
    const { type = 'text', cacheTtl = CACHE_SECONDS } = typeof options === 'string' ? { type: options } : options
    if (type !== 'text' && type !== 'json') throw new Error(`This double has no type ${type}.`)
    return this.#store.arriving({ operation: 'get', keys, location: this.#name }, () => {
      const operation = isBulk ? 'get_bulk' : 'get'
      if (keys.length > BULK_KEYS_MAX)
        throw refusal(operation, `400 You can request a maximum of ${BULK_KEYS_MAX} keys`)
      if (keys.length === 0) throw refusal(operation, '400 You must request a minimum of 1 key')
      for (const key of keys) checkKey(operation, key)
      if (!(cacheTtl >= CACHE_SECONDS_MIN))
        throw refusal(
          operation,
          `400 Invalid cache_ttl of ${cacheTtl}. Cache TTL must be at least ${CACHE_SECONDS_MIN}.`,
        )
      const entries = keys.map((key) => [key, this.#read(key, cacheTtl)] as const)
      if (isBulk && type === 'json' && entries.some(([, entry]) => entry && !isJson(entry.value)))
        throw refusal(operation, '400 At least one of the requested keys corresponds to a non-json value')
      const answers = entries.map(([key, entry]) => [key, answer(entry && foundIn(entry, type))] as const)
      return isBulk ? new Map(answers) : answers[0]![1]
    })
  }

  #read(key: string, cacheTtl: number): Entry | null {
    const now = this.#clock.now()
    const cached = this.#cached.get(key)
    const isCached = cached !== undefined && cached.until > now
    const entry = isCached ? cached.entry : this.#store.seenFrom(this.#name, key, this.#delayMs)
    if (!isCached) this.#cached.set(key, { entry, until: now + cacheTtl * 1_000 })
    return entry && entry.expiresAt > now ? entry : null
  }

  async #put(key: string, value: string, options: KVNamespacePutOptions = {}): Promise<void> {
    if (typeof value !== 'string') throw new Error('This double stores text only.')
    await this.#store.arriving({ operation: 'put', keys: [key], location: this.#name }, () => {
      checkKey('put', key)
      const { expirationTtl, expiration, metadata = null } = options
      if (expiration !== undefined) throw new Error('This double has expirationTtl only.')
      const bytes = Buffer.byteLength(value)
      if (bytes > VALUE_BYTES_MAX)
        throw refusal('put', `413 Value length of ${bytes} exceeds limit of ${VALUE_BYTES_MAX}.`)
      const metadataBytes = Buffer.byteLength(JSON.stringify(metadata))
      if (metadataBytes > METADATA_BYTES_MAX)
        throw refusal('put', `413 Metadata length of ${metadataBytes} exceeds limit of ${METADATA_BYTES_MAX}.`)
      this.#store.write('put', key, { value, metadata, expiresAt: this.#expiresAt(expirationTtl) })
    })
  }

  #expiresAt(ttlSeconds: number | undefined): number {
    if (ttlSeconds === undefined) return Number.POSITIVE_INFINITY
    const invalid = `400 Invalid expiration_ttl of ${ttlSeconds}.`
    if (!Number.isInteger(ttlSeconds) || ttlSeconds <= 0)
      throw refusal('put', `${invalid} Please specify integer greater than 0.`)
    if (ttlSeconds < TTL_SECONDS_MIN)
      throw refusal('put', `${invalid} Expiration TTL must be at least ${TTL_SECONDS_MIN}.`)
    return this.#clock.now() + ttlSeconds * 1_000
  }

  async #delete(key: string): Promise<void> {
    await this.#store.arriving({ operation: 'delete', keys: [key], location: this.#name }, () => {
      checkKey('delete', key)
      this.#store.write('delete', key, null)
    })
  }
}

const refusal = (operation: string, reason: string) => new Error(`KV ${operation.toUpperCase()} failed: ${reason}`)

function checkKey(operation: string, key: string): void {
  if (key === '') throw new TypeError('Key name cannot be empty.')
  if (key === '.' || key === '..') throw new TypeError(`"${key}" is not allowed as a key name.`)
  const bytes = Buffer.byteLength(key)
  if (bytes > KEY_BYTES_MAX)
    throw refusal(operation, `414 UTF-8 encoded length of ${bytes} exceeds key length limit of ${KEY_BYTES_MAX}.`)
}

const foundIn = ({ value, metadata }: Entry, type: 'text' | 'json'): Found => ({
  value: type === 'json' ? JSON.parse(value) : value,
  metadata,
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
