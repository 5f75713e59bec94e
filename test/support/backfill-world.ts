import { expect } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import { createIdSource } from '../../src/core/ids.ts'
import type { Random } from '../../src/core/random.ts'
import { type Backfill, Backfills, backfillKinds } from '../../src/jobs/backfills.ts'
import { Dispatch } from '../../src/jobs/dispatch.ts'
import type { Job } from '../../src/jobs/outbox.ts'
import { noPauses, Pauses } from '../../src/jobs/pauses.ts'
import { Relay } from '../../src/jobs/relay.ts'
import { Mover } from '../../src/resharding/move.ts'
import { isOver } from '../../src/resharding/record.ts'
import { MapHolder } from '../../src/sharding/map-holder.ts'
import type { ShardCall } from '../../src/sharding/routing.ts'
import { Shards } from '../../src/sharding/shards.ts'
import { bootedFleet } from './fleet.ts'
import { UnkindQueue } from './queue-double.ts'
import { ManualClock, mapRequest, quietLog, seededRandom } from './sharding-doubles.ts'

/** A test's clock that shows the real time, and sleeps for real. */
export class RealClock extends ManualClock {
  override now(): number {
    return Date.now()
  }
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      signal?.addEventListener('abort', () => clearTimeout(timer))
    })
  }
}

/** Appends one `x` to `bio`, so that a second effect shows. Users never write `bio`. */
export const names: Backfill = {
  name: 'names',
  table: 'profiles',
  set: "search_name = 'filled', bio = bio || 'x'",
  where: 'search_name IS NULL',
}

interface WorldOptions {
  rows: number
  seed: number
  clock: ManualClock
  shardCount?: number
}

/** Of the four shards, each with a quarter of the slots. */
const MOVES = [
  ['3000', '37ff', 'shard-001'],
  ['c800', 'cfff', 'shard-002'],
] as const

const never = new Promise<never>(() => undefined)

/** Shards with real routing, movers and jobs over node:sqlite. A message is delivered again if its isolate dies. */
export async function backfillWorld({ rows, seed, clock, shardCount = 4 }: WorldOptions) {
  const random = seededRandom(seed)
  const fleet = await bootedFleet({ leaseMs: 30_000, graceMs: 300_000, shardCount, clock })
  const world = new BackfillWorld(fleet, clock, random)
  await world.fill(rows)
  return world
}

type Fleet = Awaited<ReturnType<typeof bootedFleet>>

export class BackfillWorld {
  readonly queue = new UnkindQueue<Job>()
  readonly fleet: Fleet
  readonly clock: Clock
  readonly #random: Random
  readonly ids: string[] = []
  /** The last acknowledged write of a user, by row. */
  readonly written = new Map<string, string>()
  deaths = 0
  failures: string[] = []

  constructor(fleet: Fleet, clock: Clock, random: Random) {
    this.fleet = fleet
    this.clock = clock
    this.#random = random
  }

  async fill(count: number): Promise<void> {
    const { userId } = createIdSource(new ManualClock(), this.#random) // equal in each run
    const slots = await Promise.all([...this.fleet.bound.values()].map((shard) => ownSlots(shard)))
    for (let index = 0; index < count; index++) this.ids.push(userId())
    for (const [index, shard] of [...this.fleet.bound.values()].entries()) {
      const own = this.ids.filter((id) => slots[index]!.has(id.slice(0, 4)))
      for (let start = 0; start < own.length; start += 1_000)
        await shard
          .prepare(
            `INSERT INTO profiles (id, handle, display_name, bio, created_at, version)
             SELECT value, value, 'Somebody', '', 0, 1 FROM json_each(?)`,
          )
          .bind(JSON.stringify(own.slice(start, start + 1_000)))
          .run()
    }
  }

  /** An isolate. If `meet` resolves to true before or after a call, it dies there. */
  isolate(
    meet: (call: ShardCall, moment: 'before' | 'after') => boolean = () => false,
    mode: 'queue' | 'inline' = 'queue',
  ) {
    const died = Promise.withResolvers<'died'>()
    let isDead = false
    const at = async (call: ShardCall, moment: 'before' | 'after') => {
      await new Promise((resolve) => setImmediate(resolve))
      if (!isDead && meet(call, moment)) {
        isDead = true
        died.resolve('died')
      }
      if (isDead) await never
    }
    const { clock } = this
    const shards = new Shards({
      holder: new MapHolder(clock, 30_000),
      request: mapRequest({ map: async () => this.fleet.directory.map() }),
      shards: this.fleet.bound,
      clock,
      random: this.#random,
      atLeastEpoch: 0,
      observer: { before: (call) => at(call, 'before'), after: (call) => at(call, 'after') },
    })
    const common = { clock, random: this.#random, log: quietLog, shards }
    const pauses = new Pauses({ shards, clock, log: quietLog, known: noPauses() })
    const kinds = backfillKinds([names], 1_000)
    const dispatch = new Dispatch({ ...common, kinds, pauses, follow: (jobs) => relay.send(jobs) })
    const queue = this.queue.binding
    const queues = { mail: queue, jobs: queue, media: queue, purges: queue }
    const relay: Relay = new Relay({ ...common, mode, queues, dispatch })
    const committed: Job[] = []
    const backfills = new Backfills({
      backfills: [names],
      shards,
      clock,
      ids: createIdSource(clock, this.#random),
      pauses,
      follow: (jobs) => void committed.push(...jobs),
    })
    const start = async () => {
      const status = await backfills.start(names.name)
      await relay.send(committed.splice(0))
      return status
    }
    return { shards, dispatch, relay, backfills, start, died: died.promise }
  }

  /** Delivers one message to a new isolate. */
  async deliver(job: Job, meet?: Parameters<BackfillWorld['isolate']>[0]): Promise<void> {
    const isolate = this.isolate(meet)
    const verdict = await Promise.race([isolate.dispatch.run(job, 1), isolate.died])
    if (verdict === 'died') {
      this.deaths++
      this.queue.sent.push(job)
    } else if (verdict.kind === 'retry') {
      this.failures.push(job.kind)
      this.queue.sent.push(job)
    } else expect(verdict).toEqual({ kind: 'done' })
  }

  /** Delivers up to `atOnce` messages at a time until the queue is empty. */
  async drain(meet?: Parameters<BackfillWorld['isolate']>[0], atOnce = 4): Promise<void> {
    while (this.queue.sent.length > 0)
      await Promise.all(this.queue.sent.splice(0, atOnce).map((job) => this.deliver(job, meet)))
  }

  /**
   * Runs the backfill over four shards while two moves run and users write. An isolate dies before its first chunk of
   * these numbers, and after the second.
   */
  async runUnderFire({ killAtChunks: [first, second], writes }: { killAtChunks: [number, number]; writes: number }) {
    for (let count = 0; count < writes / 3; count++) await this.writeAny()
    expect(await this.isolate().start()).toMatchObject({ state: 'waiting' })
    const chunks = { before: 0, after: 0 }
    const kill = ({ operation }: ShardCall, moment: 'before' | 'after') =>
      operation === 'backfills.names' && ++chunks[moment] === (moment === 'before' ? first : second)
    const settled: number[] = []
    const moves = MOVES.map(async ([first, last, target]) => {
      await this.move(first, last, target)
      settled.push(chunks.after)
    })
    const users = async () => {
      for (let count = 0; count < writes; count++) await this.writeAny()
    }
    await Promise.all([this.drain(kill, 2), ...moves, users()])
    expect(this.deaths).toBe(2)
    // The moves ran while chunks did.
    expect(settled[0]).toBeGreaterThan(0)
    expect(settled[1]).toBeLessThan(chunks.after)
  }

  /** Moves slots, with the real mover, until the move is settling. */
  async move(first: string, last: string, target: string): Promise<void> {
    const { records, planning, bound } = this.fleet
    const [planned] = await planning.plan({ keyspace: 'users', ranges: [[first, last]], target })
    const { id } = planned!
    const mover = new Mover({
      records: {
        find: async (move) => records.find(move),
        change: async (...change) => records.change(...change),
        report: async (...progress) => records.report(...progress),
      },
      shards: bound,
      clock: this.clock,
      random: this.#random,
      log: quietLog,
      share: 1,
      observer: { before: () => new Promise((resolve) => setImmediate(resolve)) },
    })
    for (let turns = 0; turns < 50 && records.find(id)!.state !== 'settling'; turns++) {
      expect(isOver(records.find(id)!), JSON.stringify(records.find(id))).toBe(false)
      await mover.turn(id)
    }
    expect(records.find(id)).toMatchObject({ state: 'settling' })
  }

  /** A user's write of a random row, with a value of its own. Counts only if it was acknowledged. */
  async writeAny(): Promise<void> {
    const id = this.ids[Math.floor(this.#random.fraction() * this.ids.length)]!
    const value = `user ${this.written.size} ${id}`
    const { shards } = this.isolate()
    const { meta } = await shards
      .of(id, { operation: 'test.write', idempotent: true })
      .prepare('UPDATE profiles SET search_name = ? WHERE id = ?')
      .bind(value, id)
      .run()
    expect(meta.changes).toBeGreaterThan(0)
    this.written.set(id, value)
  }

  /** Every row at the shard that owns it by the directory's map. */
  async rows(): Promise<Map<string, { searchName: string | null; bio: string }>> {
    const found = await Promise.all(
      [...this.fleet.bound.values()].map(async (shard) => {
        const slots = await ownSlots(shard)
        const { results } = await shard
          .prepare('SELECT id, search_name AS searchName, bio FROM profiles')
          .all<{ id: string; searchName: string | null; bio: string }>()
        return results.filter(({ id }) => slots.has(id.slice(0, 4)))
      }),
    )
    const rows = found.flat()
    expect(rows.length, 'each row has one owner').toBe(this.ids.length)
    return new Map(rows.map(({ id, ...row }) => [id, row]))
  }

  /** Every row is changed once, unless its user was first, and no user’s newer value is overwritten. */
  async check(): Promise<void> {
    const wrong: unknown[] = []
    for (const [id, row] of await this.rows()) {
      const own = this.written.get(id)
      const isRight =
        own === undefined
          ? row.searchName === 'filled' && row.bio === 'x'
          : row.searchName === own && row.bio.length <= 1
      if (!isRight) wrong.push({ id, own, ...row })
    }
    expect(wrong.length, JSON.stringify(wrong.slice(0, 3))).toBe(0)
  }
}

async function ownSlots(shard: D1Database): Promise<Set<string>> {
  const { results } = await shard
    .prepare("SELECT slot FROM slots WHERE keyspace = 'users' AND state IN ('active', 'moving')")
    .all<{ slot: string }>()
  return new Set(results.map(({ slot }) => slot))
}
