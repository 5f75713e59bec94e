import type { Clock, TimeBudget } from '../../src/core/clock.ts'
import type { Log } from '../../src/core/log.ts'
import type { Random } from '../../src/core/random.ts'
import { type MapCopies, MapHolder, type MapRequest, type MapSource } from '../../src/sharding/map-holder.ts'
import type { Replicas } from '../../src/sharding/replicas.ts'
import type { ShardCall, ShardObserver } from '../../src/sharding/routing.ts'
import type { MapWire, Run } from '../../src/sharding/shard-map.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import { Shards } from '../../src/sharding/shards.ts'

const LONG_MS_MIN = 1_000

/**
 * Time that moves only on command. A short wait (a backoff) moves it at once, `stride` times as far. A long wait, and
 * the time limit of a call, stays pending until its time.
 */
export class ManualClock implements Clock {
  time: number
  readonly stride: number
  readonly slept: number[] = []
  onSleep: (() => Promise<void> | void) | null = null
  #pending: { at: number; wake: () => void }[] = []

  constructor(time = 1_000_000, stride = 1) {
    this.time = time
    this.stride = stride
  }

  now(): number {
    return this.time
  }

  /** The number of pending time limits. */
  get pending(): number {
    return this.#pending.length
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal || ms >= LONG_MS_MIN) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = { at: this.time + ms, wake: resolve }
      this.#pending.push(timer)
      signal?.addEventListener('abort', () => {
        this.#pending = this.#pending.filter((one) => one !== timer)
      })
      return promise
    }
    this.slept.push(ms)
    this.advance(ms * this.stride)
    await this.onSleep?.()
  }

  advance(ms: number): void {
    this.time += ms
    const due = this.#pending.filter(({ at }) => at <= this.time)
    this.#pending = this.#pending.filter(({ at }) => at > this.time)
    for (const { wake } of due) wake()
  }
}

/** A call that never answers. */
export const silence = (): Promise<never> => new Promise(() => undefined)

/** Always draws the same fraction. */
export const fixedRandom = (fraction = 0.5): Random => ({
  bytes: (length) => new Uint8Array(length),
  fraction: () => fraction,
})

/** Mulberry32: a number in [0, 1) from a 32-bit seed. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => fraction() * 256) }
}

/**
 * A map of `shardCount` shards that gives every slot of all keyspaces to the shard with this number, or to the shards
 * of these runs.
 */
export function mapWire(epoch: number, issuedAt: number, owner: number | Run[], shardCount = 2): MapWire {
  const runs = typeof owner === 'number' ? [[0, owner]] : owner
  const shards = Array.from({ length: shardCount }, (_, index) => {
    const number = String(index).padStart(3, '0')
    return { id: `shard-${number}`, binding: `SHARD_${number}`, state: 'serving' as const }
  })
  return { epoch, issuedAt, shards, runs: Object.fromEntries(keyspaces.map((keyspace) => [keyspace, runs])) }
}

/** A directory that gives the current `reply`, and counts its requests. */
export class ScriptedSource implements MapSource {
  calls = 0
  reply: () => MapWire | Promise<MapWire>

  constructor(reply: () => MapWire | Promise<MapWire>) {
    this.reply = reply
  }

  async map(): Promise<MapWire> {
    this.calls++
    return this.reply()
  }
}

/** The data centre's copies without expiry: a copy that a test puts there stays. */
export class HeldCopies implements MapCopies {
  readonly held = new Map<string, MapWire>()

  async get(key: string): Promise<MapWire | null> {
    return this.held.get(key) ?? null
  }

  async put(key: string, map: MapWire): Promise<void> {
    this.held.set(key, map)
  }
}

/** A cache that never has a copy, like a data centre's in its first second. */
const noCopies: MapCopies = { get: async () => null, put: async () => undefined }

export const quietLog: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

export const mapRequest = (source: MapSource, copies: MapCopies = noCopies): MapRequest => ({
  source,
  copies,
  log: quietLog,
  waitUntil: (promise) => void promise.catch(() => null),
})

export interface RoutedShardsOptions {
  databases: Record<string, D1Database>
  clock?: ManualClock
  random?: Random
  source?: ScriptedSource
  copies?: MapCopies
  holder?: MapHolder
  leaseMs?: number
  atLeastEpoch?: number
  time?: TimeBudget
  before?: ShardObserver['before']
  replicas?: Replicas
}

/**
 * The real router over these databases, with a scripted directory and a manual clock. `calls` lists the calls that it
 * sent.
 */
export function routedShards(options: RoutedShardsOptions) {
  const clock = options.clock ?? new ManualClock()
  const source = options.source ?? new ScriptedSource(() => mapWire(1, clock.now(), 0))
  const holder = options.holder ?? new MapHolder(clock, options.leaseMs ?? 30_000)
  const calls: ShardCall[] = []
  const shards = new Shards({
    holder,
    request: mapRequest(source, options.copies),
    shards: new Map(Object.entries(options.databases)),
    clock,
    random: options.random ?? fixedRandom(),
    atLeastEpoch: options.atLeastEpoch ?? 0,
    ...(options.time ? { time: options.time } : {}),
    ...(options.replicas ? { replicas: options.replicas } : {}),
    observer: {
      async before(call) {
        calls.push(call)
        await options.before?.(call)
      },
    },
  })
  return { shards, clock, source, holder, calls }
}

type Send = () => Promise<unknown>

/** A database whose every round trip goes through `link`, which may delay it, or fail it before or after its effect. */
export function linkedDatabase(database: D1Database, link: (send: Send) => Promise<unknown>): D1Database {
  const originals = new WeakMap<object, D1PreparedStatement>()
  const sending = new Set(['all', 'run', 'raw', 'first'])
  const linked = (statement: D1PreparedStatement): D1PreparedStatement => {
    const proxy = new Proxy(statement, {
      get(target, name) {
        if (name === 'bind') return (...values: unknown[]) => linked(target.bind(...values))
        const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>
        if (!sending.has(String(name))) return method
        return (...args: unknown[]) => link(() => method.apply(target, args))
      },
    })
    originals.set(proxy, statement)
    return proxy
  }
  return new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => linked(target.prepare(sql))
      if (name === 'batch')
        return (statements: D1PreparedStatement[]) =>
          link(() => target.batch(statements.map((statement) => originals.get(statement)!)))
      if (name === 'withSession')
        return (start: D1SessionConstraint) =>
          linkedDatabase(target.withSession(start) as D1DatabaseSession & D1Database, link)
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** D1's error if the connection breaks. The statement may have been applied. */
export const connectionLost = () => new Error('D1_ERROR: Network connection lost.')
