import type { ReadManyOptions, ReadOptions } from '../../src/cache/cache.ts'
import type { CachePolicy } from '../../src/cache/entry.ts'
import { IsolateCache } from '../../src/cache/isolate-cache.ts'
import { KvStore } from '../../src/cache/kv-store.ts'
import { ReadThroughCache } from '../../src/cache/read-through.ts'
import type { Clock } from '../../src/core/clock.ts'
import { createLog } from '../../src/core/log.ts'
import { Scheduler } from '../simulation/scheduler.ts'
import { UnkindKv } from './kv-double.ts'
import { seededRandom, silence } from './sharding-doubles.ts'

/** What the shard holds. `version` rises with every change of the key, also over deletions. */
export interface Thing {
  key: string
  version: number
}

/** One state of a key. `thing` is null while it does not exist. */
export interface State {
  version: number
  thing: Thing | null
  at: number
}

export const policy: CachePolicy<Thing> = {
  ttlMs: 60_000,
  staleWhileRevalidateMs: 30_000,
  graceMs: 240_000,
  negativeTtlMs: 10_000,
  version: ({ version }) => version,
}

/** The owners of different keys have different slots. */
export const ownerOf = (key: string): string => `${key.padStart(4, '0').slice(-4)}01jd${'0'.repeat(22)}`

export interface CacheWorldOptions {
  seed?: number
  /** How long the shard takes for a call, in ms. */
  latencyMs?: (scheduler: Scheduler) => number
  /** After how long a call that hangs fails. Default: never. */
  hangMs?: number
  memoryBytes?: number
}

/** A shard, KV and several isolates with the read-through cache, in virtual time. */
export class CacheWorld {
  readonly scheduler: Scheduler
  readonly clock: Clock
  readonly kv: UnkindKv
  /** All states of each key, oldest first. */
  readonly states = new Map<string, State[]>()
  /** Keys of each load that arrived at the shard. */
  readonly loads: string[][] = []
  readonly logged: string[] = []
  /** What the shard does with a call. */
  shard: 'answers' | 'fails' | 'hangs' = 'answers'
  readonly #options: CacheWorldOptions

  constructor(options: CacheWorldOptions = {}) {
    this.#options = options
    this.scheduler = new Scheduler(seededRandom(options.seed ?? 1))
    this.clock = this.clockWithin(0)
    this.kv = new UnkindKv(this.clock)
  }

  /** A clock that differs from the true time by `offsetMs`. */
  clockWithin(offsetMs: number): Clock {
    const { scheduler } = this
    return {
      now: () => Math.floor(scheduler.now()) + offsetMs,
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted) return
          const cancel = scheduler.after(ms, resolve)
          signal?.addEventListener('abort', cancel)
        }),
    }
  }

  get now(): number {
    return this.clock.now()
  }

  /** The newest state of a key. */
  state(key: string): State {
    return this.states.get(key)?.at(-1) ?? { version: 0, thing: null, at: 0 }
  }

  /** Changes the row at once, and returns what was committed. */
  commit(key: string, exists = true): Thing | null {
    const version = this.state(key).version + 1
    const thing = exists ? { key, version } : null
    this.states.set(key, [...(this.states.get(key) ?? []), { version, thing, at: this.now }])
    return thing
  }

  /** A call of the shard: it arrives, has its effect, and answers, each after a while. */
  async call<T>(effect: () => T): Promise<T> {
    const { scheduler } = this
    const latency = this.#options.latencyMs?.(scheduler) ?? 10
    const arrives = latency * scheduler.random.fraction()
    await scheduler.sleep(arrives)
    if (this.shard === 'hangs') await (this.#options.hangMs ? scheduler.sleep(this.#options.hangMs) : silence())
    if (this.shard !== 'answers') throw new Error('the shard is down')
    const answer = effect()
    await scheduler.sleep(latency - arrives)
    return answer
  }

  async load(keys: readonly string[]): Promise<Map<string, Thing>> {
    return this.call(() => {
      this.loads.push([...keys])
      return new Map(keys.flatMap((key) => (this.state(key).thing ? [[key, this.state(key).thing!]] : [])))
    })
  }

  isolate(name: string, clock: Clock = this.clock): CachingIsolate {
    return new CachingIsolate(this, name, clock, this.#options.memoryBytes)
  }

  /** Lets time pass until the work is done. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const done = () => {
      isDone = true
    }
    work.then(done, done)
    await this.scheduler.run({ isDone: () => isDone, eventsMax: 1_000_000 })
    return work
  }

  async pass(ms: number): Promise<void> {
    await this.until(this.scheduler.sleep(ms))
  }
}

/** A request to an isolate. */
export interface CacheRequest {
  cache: ReadThroughCache
  /** Work that continues after the response. */
  background: Promise<unknown>[]
  read(key: string): Promise<Thing | null>
  readMany(keys: string[]): Promise<Map<string, Thing>>
}

export class CachingIsolate {
  readonly memory: IsolateCache
  readonly clock: Clock
  readonly #world: CacheWorld
  readonly #name: string

  constructor(world: CacheWorld, name: string, clock: Clock, memoryBytes?: number) {
    this.#world = world
    this.#name = name
    this.clock = clock
    this.memory = new IsolateCache(this.clock.now, memoryBytes, world.scheduler.random)
  }

  /** A request of a client who may have written the slots of these owners. */
  request(owners: readonly string[] = [], changes: Partial<ReadOptions<Thing>> = {}): CacheRequest {
    const world = this.#world
    const { clock, memory } = this
    const background: Promise<unknown>[] = []
    const log = createLog({}, (_, line) => world.logged.push(line))
    const kv = new KvStore(world.kv.location(this.#name).binding, log, () => undefined, clock)
    const cache = new ReadThroughCache({
      isolate: memory,
      kv,
      clock,
      log,
      ownSlots: new Set(owners.map((id) => id.slice(0, 4))),
      waitUntil: (promise) => void background.push(promise),
    })
    const one = (key: string): ReadOptions<Thing> => ({
      ...policy,
      owner: ownerOf(key),
      load: async () => (await world.load([key])).get(key) ?? null,
      ...changes,
    })
    const many: ReadManyOptions<Thing> = { ...policy, owner: ownerOf, load: (keys) => world.load(keys) }
    return {
      cache,
      background,
      read: (key) => cache.read(key, one(key)),
      readMany: (keys) => cache.readMany(keys, many),
    }
  }
}
