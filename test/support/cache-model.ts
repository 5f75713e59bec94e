import fc from 'fast-check'
import { vi } from 'vitest'
import { ageMsMax } from '../../src/cache/entry.ts'
import { limits } from '../../src/core/limits.ts'
import type { Scheduler } from '../simulation/scheduler.ts'
import { CacheWorld, type CachingIsolate, ownerOf, policy, type State, type Thing } from './cache-world.ts'
import { seededRandom } from './sharding-doubles.ts'

const KEYS = ['a', 'b', 'c'] as const
const CLIENTS = 3
/** Between two isolates: less than `cacheClockSkewMs`. */
const SKEW_MS = 400

type Key = (typeof KEYS)[number]
type Trouble = 'shard fails' | 'shard hangs' | 'kv fails' | 'kv hangs'

export interface Step {
  /** Since the previous step. */
  afterMs: number
  client: number
  isolate: number
  key: Key
  does: 'read' | 'read many' | 'write' | 'delete' | 'write, then invalidate' | Trouble
  /** Of a trouble. */
  lastsMs: number
}

const afterMs = fc.oneof(
  { weight: 5, arbitrary: fc.nat(400) },
  { weight: 3, arbitrary: fc.nat(8_000) },
  { weight: 2, arbitrary: fc.nat(80_000) },
  { weight: 1, arbitrary: fc.nat(400_000) },
)
const does = fc.oneof(
  { weight: 10, arbitrary: fc.constant('read' as const) },
  { weight: 3, arbitrary: fc.constant('read many' as const) },
  { weight: 4, arbitrary: fc.constantFrom('write' as const, 'write, then invalidate' as const) },
  { weight: 2, arbitrary: fc.constant('delete' as const) },
  { weight: 1, arbitrary: fc.constantFrom<Trouble>('shard fails', 'shard hangs', 'kv fails', 'kv hangs') },
)

/** A run: its steps, and the seed that decides how long each call and each delay of KV takes. */
export const runs = fc.record({
  seed: fc.nat(),
  steps: fc.array(
    fc.record({
      afterMs,
      client: fc.nat(CLIENTS - 1),
      isolate: fc.nat(2),
      key: fc.constantFrom(...KEYS),
      does,
      lastsMs: fc.nat(20_000),
    }),
    { minLength: 1, maxLength: 80, size: 'max' },
  ),
})

/** Mostly short. Some calls take longer than a reader waits. */
const latencyMs = (scheduler: Scheduler): number =>
  scheduler.chance(0.1) ? scheduler.between(500, 7_000) : scheduler.between(1, 200)

interface Client {
  /** When the client last wrote each key, and the version of its newest acknowledged write. */
  writes: Map<Key, { at: number; version: number }>
}

/** Runs the steps against the real cache, and throws for the first promise that it breaks. */
export async function checkRun({ seed, steps }: { seed: number; steps: Step[] }): Promise<void> {
  const drawn = seededRandom(seed + 1)
  const world = new CacheWorld({ seed, latencyMs, hangMs: 30_000, memoryBytes: 900 })
  vi.spyOn(Date, 'now').mockImplementation(() => world.now) // the library that shares loads compares times with it
  const isolates = [0, SKEW_MS, -SKEW_MS].map((offset, index) => {
    world.kv.location(`isolate ${index}`, { visibleAfterMs: () => Math.floor(drawn.fraction() * 120_001) })
    return new Checked(world, world.isolate(`isolate ${index}`, world.clockWithin(offset)))
  })
  const clients: Client[] = Array.from({ length: CLIENTS }, () => ({ writes: new Map() }))
  const work = new Set<Promise<void>>()
  let failure: { error: unknown } | null = null
  const start = (run: () => Promise<void>) => {
    const running = run()
      .catch((error: unknown) => {
        failure ??= { error }
      })
      .finally(() => work.delete(running))
    work.add(running)
  }
  await world.until(
    (async () => {
      for (const step of steps) {
        await world.scheduler.sleep(step.afterMs)
        if (failure) break
        const client = clients[step.client]!
        const isolate = isolates[step.isolate]!
        start(() => perform(step, world, isolate, client))
      }
      while (work.size > 0 && !failure) await world.scheduler.sleep(1_000)
    })(),
  )
  if (failure) throw (failure as { error: unknown }).error
}

async function perform(step: Step, world: CacheWorld, isolate: Checked, client: Client): Promise<void> {
  switch (step.does) {
    case 'read':
      return isolate.read(client, step.key)
    case 'read many':
      return isolate.readMany(client)
    case 'write':
    case 'write, then invalidate':
    case 'delete':
      return isolate.write(client, step)
    default:
      return trouble(step.does, step.lastsMs, world)
  }
}

async function trouble(kind: Trouble, ms: number, world: CacheWorld): Promise<void> {
  if (kind === 'shard fails') world.shard = 'fails'
  if (kind === 'shard hangs') world.shard = 'hangs'
  if (kind === 'kv fails') world.kv.fate = () => 'fails'
  if (kind === 'kv hangs') world.kv.fate = () => 'hangs'
  await world.scheduler.sleep(ms)
  world.shard = 'answers'
  world.kv.fate = () => null
}

/** An isolate whose reads are checked. */
class Checked {
  readonly #world: CacheWorld
  readonly #isolate: CachingIsolate
  /** The oldest version that may be shown: at least what was shown before. */
  readonly #floors = new Map<string, number>()

  constructor(world: CacheWorld, isolate: CachingIsolate) {
    this.#world = world
    this.#isolate = isolate
  }

  async read(client: Client, key: Key): Promise<void> {
    const { request, check } = this.#request(client, [key])
    const read = request.read(key)
    const things = await read.then(
      (thing) => new Map(thing ? [[key, thing]] : []),
      () => null,
    )
    check(things, limits.cacheReadMs)
  }

  async readMany(client: Client): Promise<void> {
    const { request, check } = this.#request(client, KEYS)
    const things = await request.readMany([...KEYS]).catch(() => null)
    check(things, limits.cacheReadMs + limits.kvWaitMs)
  }

  async write(client: Client, { key, does }: Step): Promise<void> {
    const request = this.#isolate.request()
    const world = this.#world
    const commit = () => {
      world.commit(key, does !== 'delete')
      return world.state(key)
    }
    const committed = await world.call(commit).catch(() => null) // null: the outcome is unknown
    if (!committed) return
    if (does === 'write, then invalidate') request.cache.invalidate(key)
    else request.cache.write(key, committed.thing, policy)
    const known = client.writes.get(key)?.version ?? 0
    client.writes.set(key, { at: world.now, version: Math.max(committed.version, known) })
  }

  #request(client: Client, keys: readonly Key[]) {
    const { now } = this.#world
    const own = [...client.writes].filter(([, { at }]) => now - at < limits.causalTokenMs)
    const request = this.#isolate.request(own.map(([key]) => ownerOf(key)))
    const atLeast = new Map(keys.map((key) => [key, this.#floors.get(key) ?? 0]))
    for (const [key, { version }] of own) atLeast.set(key, Math.max(atLeast.get(key) ?? 0, version))
    const isOwn = own.some(([key]) => keys.includes(key))
    const check = (things: Map<string, Thing> | null, longestMs: number) => {
      const took = this.#world.now - now
      // A client's own slots are read as they would be without a cache, whose time limits are the shard's.
      if (!isOwn && took > longestMs) throw new Error(`a reader waited ${took} ms`)
      if (things) for (const key of keys) this.#check(key, things.get(key) ?? null, now, atLeast.get(key) ?? 0)
    }
    return { request, check }
  }

  /** `startedAt`: when the read began. `atLeast`: the oldest version that it may show. */
  #check(key: Key, thing: Thing | null, startedAt: number, atLeast: number): void {
    const states = [{ version: 0, thing: null, at: 0 }, ...(this.#world.states.get(key) ?? [])]
    const shown = thing ? thing.version : newestAbsence(states)
    if (shown < atLeast) throw new Error(`${key}: showed version ${shown} after ${atLeast}`)
    const next = states.find(({ version }) => version > shown)
    const entry = { value: thing, version: thing?.version ?? null, at: 0 }
    const bound = ageMsMax(entry, policy) + 2 * SKEW_MS
    if (next && startedAt - next.at > bound)
      throw new Error(`${key}: showed version ${shown}, which was replaced ${startedAt - next.at} ms before`)
    const floor = thing ? thing.version : oldestAbsence(states, atLeast)
    this.#floors.set(key, Math.max(floor, this.#floors.get(key) ?? 0))
  }
}

/** An empty answer does not say which absence it saw. */
const newestAbsence = (states: State[]): number => states.findLast(({ thing }) => thing === null)?.version ?? 0

const oldestAbsence = (states: State[], atLeast: number): number =>
  states.find(({ thing, version }) => thing === null && version >= atLeast)?.version ?? atLeast
