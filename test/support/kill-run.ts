/** One run against a stack that is killed repeatedly, with users who write and an operator who moves their slots. */
import type { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { slotOf, slotText } from '../../src/core/ids.ts'
import type { Random } from '../../src/core/random.ts'
import type { MoveRecord, MoveState } from '../../src/resharding/record.ts'
import { SLOT_COUNT } from '../../src/sharding/shard-map.ts'
import { expectEverythingInPlace, expectEverythingRead, expectOutboxesDrain } from './kill-checks.ts'
import { type KillableStack, startKillableStack } from './killable-stack.ts'
import { PersistentClient, type Retries } from './persistent-client.ts'
import { type PersistentWriter, Writers } from './persistent-writer.ts'
import { type MovableSlots, type MoveAnswer, RestlessOperator } from './restless-operator.ts'
import { seededRandom } from './sharding-doubles.ts'

const SHARDS = ['shard-000', 'shard-001', 'shard-002', 'shard-003']
const WRITERS = 16
const SIGN_UPS_AT_ONCE = 4
const WRITER_PAUSE_MS = 60
const OPERATOR_PAUSE_MS = 100
const NEWCOMER_PAUSE_MS = 2_000

/** Each kill waits for one of these states, so that all of them are hit. Most last only a moment. */
const MOMENTS: MoveState[] = ['copying', 'catching-up', 'verifying', 'cutover', 'committed', 'purging']
const MOMENT_WAIT_MS = 4_000
const MOMENT_POLL_MS = 2

/** How many slots move together with a writer's slot, and how many slots of claims move at a time. */
const WIDTHS = [1, 64, 1_024]
/** Wanted as often as all other widths together, because a quarter is seldom free of other moves. */
const QUARTER = SLOT_COUNT / 4
const CLAIMS_WIDTH = 2_048

export interface KillRun {
  kills: number
  /** Time between two kills (ms): minimum and maximum. */
  uptimeMs: [number, number]
}

/** The moves that had a mover at work when the runtime was killed. */
type Met = MoveRecord[]

/** Prints a summary; throws if anything was lost, doubled, left over or read wrongly. */
export async function runWithKills({ kills, uptimeMs }: KillRun): Promise<void> {
  const seed = Date.now() % 100_000
  const startedAt = Date.now()
  // Without pauses between batches a move takes about a second, so there are many.
  const vars = { LEASE_MS: '2000', GRACE_MS: '5000', MOVE_SHARE: '1' }
  const stack = await startKillableStack({ shards: SHARDS.length, vars })
  try {
    const run = new Run(stack, seededRandom(seed))
    await run.signUp()
    const met = await run.killTimes(kills, uptimeMs)
    await run.finish()
    const seconds = Math.round((Date.now() - startedAt) / 1_000)
    process.stdout.write(`${run.summary(met)} Seed ${seed}, ${seconds} s.\n`)
    expect(met.filter((moves) => moves.length > 0).length, 'kills inside a move').toBeGreaterThanOrEqual(kills / 2)
  } catch (error) {
    process.stdout.write(`Seed ${seed}. Errors that the runtime logged:\n${stack.errors().slice(-20).join('\n')}\n`)
    throw error
  } finally {
    await stack.close()
  }
}

class Run {
  readonly #stack: KillableStack
  readonly #random: Random
  readonly #retries: Retries = { interrupted: 0, unavailable: 0 }
  readonly #all = new Writers()
  readonly #writers: PersistentWriter[]
  #newcomers = 0
  readonly #movable: MovableSlots[] = []
  readonly #operator: RestlessOperator
  #moves: MoveAnswer[] = []

  constructor(stack: KillableStack, random: Random) {
    this.#stack = stack
    this.#random = random
    this.#writers = Array.from({ length: WRITERS }, (_, index) => this.#person(`writer_${index}`))
    this.#operator = new RestlessOperator(this.#client(), random, SHARDS, this.#movable)
  }

  async signUp(): Promise<void> {
    const waiting = [...this.#writers]
    const worker = async () => {
      for (let writer = waiting.shift(); writer; writer = waiting.shift()) await writer.signUp()
    }
    await Promise.all(Array.from({ length: SIGN_UPS_AT_ONCE }, worker))
    for (const [index, { id }] of this.#writers.entries())
      this.#movable.push({ keyspace: 'users', slots: slotsAround(slotOf(id), WIDTHS[index % WIDTHS.length]!) })
    for (let slot = 0; slot < SLOT_COUNT; slot += CLAIMS_WIDTH)
      this.#movable.push({ keyspace: 'claims', slots: slotsAround(slotText(slot), CLAIMS_WIDTH) })
    for (const [index] of [...this.#movable].entries())
      this.#movable.push({ keyspace: 'users', slots: slotsAround(slotText((index * QUARTER) % SLOT_COUNT), QUARTER) })
  }

  /** Runs everything at once until the runtime was killed `count` times. Resolves to the moves that each kill hit. */
  async killTimes(count: number, uptimeMs: [number, number]): Promise<Met[]> {
    let isOn = true
    const during = async (pauseMs: number, step: () => Promise<void>) => {
      for (; isOn; await this.#pause(0, pauseMs)) await step()
    }
    const working = Promise.all([
      ...this.#writers.map((writer) => during(WRITER_PAUSE_MS, () => writer.step())),
      during(OPERATOR_PAUSE_MS, () => this.#operator.step()),
      during(NEWCOMER_PAUSE_MS, () => this.#welcome()),
    ])
    const failed = new Promise<never>((_, reject) => working.catch(reject))
    const killing = async () => {
      const met: Met[] = []
      while (isOn && met.length < count) met.push(await this.#killOnce(met.length, uptimeMs))
      await this.#pause(uptimeMs[0], uptimeMs[0])
      return met
    }
    try {
      return await Promise.race([killing(), failed])
    } finally {
      isOn = false
      await working
    }
  }

  async finish(): Promise<void> {
    this.#moves = await this.#operator.finish()
    await expectEverythingRead(this.#stack.url, this.#all)
    await this.#stack.kill()
    await expectEverythingInPlace(this.#stack, this.#all)
    await expectOutboxesDrain(this.#stack, this.#all)
    expect([...this.#all.people, this.#operator].flatMap(({ violations }) => violations)).toEqual([])
    expect(this.#moves.filter(({ state }) => state === 'failed')).toEqual([])
  }

  summary(met: Met[]): string {
    const { interrupted, unavailable } = this.#retries
    const inside = met.filter((moves) => moves.length > 0).length
    return [
      `Acknowledged: ${told(this.#all.acknowledged())}, ${this.#all.people.length} sign-ups.`,
      `Retried: ${interrupted} interrupted, ${unavailable} unavailable.`,
      `${this.#moves.length} moves: ${told(countBy(this.#moves, ({ state }) => state))}; ${told(this.#operator.counts)}.`,
      `${met.length} kills, ${inside} inside a move: ${told(countBy(met.flat(), stepOf))}.`,
    ].join('\n')
  }

  async #killOnce(index: number, [atLeastMs, atMostMs]: [number, number]): Promise<Met> {
    await this.#pause(atLeastMs, atMostMs)
    await this.#moment(MOMENTS[Math.floor(this.#random.fraction() * MOMENTS.length)]!)
    await this.#stack.kill()
    const met = this.#metByKill()
    await this.#stack.start()
    // After every other kill, the movers' alarms run without the cron.
    if (index % 2 === 0) await this.#stack.cron()
    return met
  }

  /** Resolves when a move is in this state, or, after a while, when any other move has a mover at work. */
  async #moment(state: MoveState): Promise<void> {
    using directory = this.#stack.openDirectory()
    for (const startedAt = Date.now(); ; await this.#pause(MOMENT_POLL_MS, MOMENT_POLL_MS)) {
      const moves = movesAtWork(directory)
      if (moves.some((move) => move.state === state)) return
      const waitedMs = Date.now() - startedAt
      if (waitedMs > 2 * MOMENT_WAIT_MS || (waitedMs > MOMENT_WAIT_MS && moves.length > 0)) return
    }
  }

  #metByKill(): Met {
    using directory = this.#stack.openDirectory()
    return movesAtWork(directory)
  }

  async #welcome(): Promise<void> {
    await this.#person(`newcomer_${this.#newcomers++}`).signUp()
  }

  #person(handle: string): PersistentWriter {
    return this.#all.add(handle, this.#client(), this.#random)
  }

  #client(): PersistentClient {
    return new PersistentClient(this.#stack, this.#random, this.#retries)
  }

  #pause(atLeastMs: number, atMostMs: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, atLeastMs + this.#random.fraction() * (atMostMs - atLeastMs)))
  }
}

/** The moves that hold their shards' lanes, read from the directory's own file. */
const movesAtWork = (directory: DatabaseSync): MoveRecord[] =>
  (directory.prepare('SELECT record FROM moves WHERE is_over = 0').all() as { record: string }[])
    .map(({ record }) => JSON.parse(record) as MoveRecord)
    .filter(({ hasLanes }) => hasLanes)

/** The range of `width` slots, starting at a multiple of `width`, that includes this slot. */
function slotsAround(slot: string, width: number): string {
  const number = Number.parseInt(slot, 16)
  const first = number - (number % width)
  return `${slotText(first)}-${slotText(first + width - 1)}`
}

const stepOf = ({ state, ending, reversed }: MoveRecord): string =>
  [state, ...(ending ? ['(being undone)'] : []), ...(reversed ? ['(reverse)'] : [])].join(' ')

function countBy<T>(items: T[], name: (item: T) => string): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(items, name)].map(([key, of]) => [key, of.length]))
}

const told = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count.toLocaleString('en')} ${name}`)
    .join(', ')
