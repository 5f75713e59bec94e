import { BanyanError } from '../../src/core/errors.ts'
import { slotText } from '../../src/core/ids.ts'
import { limits } from '../../src/core/limits.ts'
import type { Once, Parts } from '../../src/resharding/kept-answers.ts'
import type { PlannedMove } from '../../src/resharding/move-planning.ts'
import { type MoveRecord, slotNumber } from '../../src/resharding/record.ts'
import type { Keyspace } from '../../src/sharding/sharded-table.ts'
import { Client, History, visit, visitAfterCommits } from './clients.ts'
import type { Fault, FaultTable } from './faults.ts'
import { finalChecks } from './final-checks.ts'
import { Importer } from './importers.ts'
import { restart } from './network.ts'
import { Process } from './processes.ts'
import { drawScale, REPLICAS_MAX } from './scale.ts'
import { addReplicas, neighbourhood, resetTemplate, SHARD_COUNT, type Template } from './template.ts'
import { callDirectory, World } from './world.ts'

const CLIENTS = 5
const IMPORTERS = 2
export const OPERATIONS_MIN = 300
/** A move that has not progressed enough by then continues in the calm phase. */
const TROUBLE_MS_MAX = 40_000
const EVENTS_MAX = 400_000
const CALM_MS_MAX = 240_000

export interface SeedOptions {
  isTraced?: boolean
  /** Which seeds have replicas. By default, every third. */
  replicas?: 'none' | 'some' | 'all'
  another?: AnotherClient
}

const REPLICATED_EVERY = 3

export interface SeedReport {
  seed: number
  operations: number
  events: number
  /** How many moves ended in each state. */
  moves: Record<string, number>
  /** How many moves each of these happened to. */
  happened: Record<string, number>
  /** Messages that were postponed because a consumer's budget was too small. */
  putOff: number
  /** What replicas did, by name. */
  replicas: Record<string, number>
  /** The most statements that one invocation sent, by kind of invocation. */
  statements: Record<string, number>
  table: FaultTable
  violation: string | null
  trace: string[]
}

/** An additional client. Without it, a seed draws the same numbers as before. */
export type AnotherClient = (world: World, history: History) => { start(): void; isStopped: boolean }

/**
 * Runs one seed: clients, operator and faults until there were enough of each, then a calm phase, then the final
 * checks.
 */
export async function runSeed(
  template: Template,
  seed: number,
  { isTraced = false, replicas = 'some', another }: SeedOptions = {},
): Promise<SeedReport> {
  const hasReplicas = replicas === 'all' || (replicas === 'some' && seed % REPLICATED_EVERY === 0)
  if (hasReplicas) await addReplicas(template, REPLICAS_MAX)
  resetTemplate(template)
  const world = new World(template, seed, { isTraced, hasReplicas })
  // The library that shares a cache's loads has no clock of its own.
  const { now } = Date
  Date.now = () => Math.floor(world.scheduler.now())
  try {
    return await runWorld(world, seed, another)
  } finally {
    Date.now = now
  }
}

async function runWorld(world: World, seed: number, another?: AnotherClient): Promise<SeedReport> {
  drawScale(world.scheduler)
  const history = new History(OPERATIONS_MIN)
  const clients = Array.from({ length: CLIENTS }, (_, index) => new Client(world, history, `client ${index + 1}`))
  const importers = Array.from(
    { length: IMPORTERS },
    (_, index) => new Importer(world, history, `importer ${index + 1}`),
  )
  const all = [...clients, ...importers, ...(another ? [another(world, history)] : [])]
  for (const client of all) client.start()
  visit(world, history)
  if (world.hasReplicas) visitAfterCommits(world, history)
  const operator = new Operator(world)
  operator.start()
  trouble(world)
  const troubleUntil = world.scheduler.now() + TROUBLE_MS_MAX
  let events = 0
  try {
    const afterEach = () => {
      if (world.checker.violation) throw new Violation()
    }
    events += await world.scheduler.run({
      isDone: () =>
        history.operations >= OPERATIONS_MIN && (operator.isContent || world.scheduler.now() > troubleUntil),
      afterEach,
      eventsMax: EVENTS_MAX,
    })
    world.note(() => 'no faults from here on')
    world.faults.calm()
    operator.stop()
    for (const client of all) client.isStopped = true
    for (const shard of world.shards) Object.assign(shard, { isReadOnly: false, isFull: false })
    world.isQueueDown = false
    for (const shard of world.shards) await world.promote(shard)
    world.meddling.repairAll()
    void operator.attend()
    let waited = 0
    const until = world.scheduler.now() + CALM_MS_MAX
    events += await world.scheduler.run({
      isDone: () => world.scheduler.now() > until || isQuiet(world, ++waited),
      afterEach,
      eventsMax: EVENTS_MAX,
    })
    world.meddling.lookAfterLeft()
    await world.byHandDone()
    await finalChecks(world, history)
  } catch (error) {
    if (!(error instanceof Violation)) world.checker.report(`stuck: ${(error as Error).stack}`)
  }
  const moves: Record<string, number> = {}
  for (const { state, ending } of world.directory.records.list({ limit: 100, before: null })) {
    const end = ending ? `${state} (${ending})` : state
    moves[end] = (moves[end] ?? 0) + 1
  }
  return {
    seed,
    operations: history.operations,
    events,
    moves,
    happened: Object.fromEntries(Object.entries(world.happened).map(([what, ids]) => [what, ids.size])),
    putOff: world.putOff,
    replicas: world.replicaSums(),
    statements: world.statements,
    table: world.faults.table,
    violation: world.checker.violation,
    trace: world.trace ?? [],
  }
}

class Violation extends Error {}

/** True if nothing is running and nothing is left behind. */
export function isQuiet(world: World, events: number): boolean {
  if (events % 32 !== 0 || world.held > 0 || world.queued > 0 || world.openMoves().length > 0) return false
  return world.shards.every(
    (shard) =>
      (world.checker.ask(shard, "SELECT count(*) AS rows FROM outbox WHERE state <> 'dead'").get() as { rows: number })
        .rows === 0 &&
      (
        world.checker.ask(shard, "SELECT count(*) AS rows FROM claims WHERE state = 'reserved'").get() as {
          rows: number
        }
      ).rows === 0,
  )
}

/** The operator: moves slots back and forth in both keyspaces, and sometimes aborts or reverses a move. */
export class Operator {
  readonly #world: World
  readonly #process: Process
  readonly #patience: 'committed' | 'done'
  #hasPlanned = false
  #requests = 0
  /** False once a plan got no answer, because it may be recorded late, next to another plan. */
  #isSure = true
  #asked = 0
  #isStopped = false

  constructor(world: World) {
    this.#world = world
    this.#process = new Process(world.scheduler, 'operator')
    this.#patience = world.scheduler.chance(0.4) ? 'done' : 'committed'
  }

  /** True if at least one move existed and progressed far enough while clients wrote. */
  get isContent(): boolean {
    if (this.#patience === 'committed' && this.#world.checker.epoch > 1) return true
    return ++this.#asked % 32 === 0 && this.#hasPlanned && this.#world.openMoves().length === 0
  }

  stop(): void {
    this.#isStopped = true
  }

  start(): void {
    const { scheduler } = this.#world
    scheduler.after(scheduler.between(500, 1_500), () => void this.#live())
  }

  /**
   * Resolves stuck moves until none is left. Chooses what operators are offered. A purge that deleted its other slots
   * while one was not its own needs that choice.
   */
  async attend(): Promise<void> {
    const { scheduler } = this.#world
    while (this.#world.openMoves().length > 0) {
      await scheduler.sleep(3 * limits.moveStuckRetryMs)
      for (const { id, stuck } of this.#world.openMoves()) if (stuck !== null) await this.#resolve(id, 'as offered')
    }
  }

  async #live(): Promise<void> {
    const { scheduler } = this.#world
    while (!this.#isStopped) {
      const open = this.#world.openMoves()
      const dice = scheduler.random.fraction()
      if (open.length === 0 || (open.length < 2 && dice < 0.12))
        await (scheduler.chance(0.15) ? this.#planSeveral() : this.#plan())
      else if (dice < 0.2) await this.#steer(scheduler.pick(open))
      else {
        const lagging = open.filter(
          ({ stuck, state, captureStopped }) => stuck !== null || (state === 'settling' && captureStopped),
        )
        if (lagging.length > 0 && dice < 0.6) await this.#steer(scheduler.pick(lagging))
      }
      await scheduler.sleep(scheduler.between(200, 1_500))
    }
  }

  async #plan(): Promise<void> {
    const { scheduler, directory } = this.#world
    const keyspace: Keyspace = scheduler.chance(0.7) ? 'users' : 'claims'
    const [first, last] = neighbourhood[keyspace]
    const middle = `${first.slice(0, 3)}7`
    const ranges = scheduler.pick<[string, string][]>([
      [[first, last]],
      [[first, last]],
      [[first, middle]],
      [
        [first, `${first.slice(0, 3)}2`],
        [`${first.slice(0, 3)}9`, last],
      ],
    ])
    const target = this.#world.shards[scheduler.below(SHARD_COUNT)]!.id
    const wish = { keyspace, ranges, target }
    await this.#request(`${keyspace} ${ranges} ${target}`, (once, parts) => directory.planning.plan(wish, once, parts))
  }

  /** Plans like a rebalance: moves that share shards, so that all but one wait for lanes. */
  async #planSeveral(): Promise<void> {
    const { directory } = this.#world
    await this.#request('several', (once, parts) => {
      const { records, planning } = directory
      return planning.inTurn(async () => {
        const checked = await planning.check(this.#randomMoves())
        return planning.record(checked, parts, (record) => records.transaction(() => once(record)))
      })
    })
  }

  /** Retries with the same key if there was no answer. The answer includes what an earlier attempt recorded. */
  async #request(
    request: string,
    plan: (once: Once<MoveRecord[]>, parts: Parts) => Promise<MoveRecord[]>,
  ): Promise<void> {
    const { scheduler, directory, faults, checker, happened } = this.#world
    const retry = { key: `plan-${++this.#requests}`, request }
    const known = new Set(this.#plannedMoves())
    let begun: string[] = []
    if (scheduler.chance(0.15)) scheduler.after(scheduler.between(10, 80), () => directory.evict())
    for (let tries = 0; tries < 4; tries++) {
      try {
        const moves = await callDirectory(
          this.#world,
          this.#process,
          () => faults.ofCall(),
          () =>
            directory.answers.answer<MoveRecord[]>(retry, (once, parts) => {
              begun = parts.moves()
              return plan(once, parts)
            }),
        )
        const ids = new Set(moves.map(({ id }) => id))
        const made = this.#plannedMoves().filter((id) => !known.has(id))
        if (this.#isSure && (ids.size < moves.length || made.some((id) => !ids.has(id)) || ids.size !== made.length))
          checker.report(`a plan was answered with ${[...ids]}, and ${made} were recorded for it`)
        for (const id of begun) happened['was planned in an earlier attempt'].add(id)
        for (const id of ids) if (!this.#world.runnable.has(id)) happened['waited for lanes'].add(id)
        this.#hasPlanned ||= moves.length > 0
        return
      } catch (error) {
        this.#world.note(() => `operator: ${(error as Error).message}`)
        if (error instanceof BanyanError) {
          if (tries > 0) this.#isSure = false
          return
        }
        await scheduler.sleep(scheduler.between(20, 400))
      }
    }
    this.#isSure = false
  }

  #plannedMoves(): string[] {
    return this.#world.directory.records.list({ limit: 1_000, before: null }).map(({ id }) => id)
  }

  /** Runs of slots that one shard owns, each to another shard. Slots that an open move holds are mostly skipped. */
  #randomMoves(): PlannedMove[] {
    const { scheduler, checker, shards } = this.#world
    const planned: PlannedMove[] = []
    const open = scheduler.chance(0.3) ? [] : this.#world.openMoves()
    const isHeld = (keyspace: Keyspace, from: string, to: string) =>
      open.some(
        (move) => move.keyspace === keyspace && move.ranges.some(([first, last]) => first <= to && from <= last),
      )
    for (const keyspace of scheduler.pick<Keyspace[]>([['users'], ['users', 'claims']])) {
      const [first, last] = neighbourhood[keyspace].map(slotNumber) as [number, number]
      const pieces = scheduler.between(2, 4)
      const slots = Math.ceil((last - first + 1) / pieces)
      for (let start = first; start <= last; start += slots) {
        const source = checker.ownerOf(keyspace, slotText(start)).id
        let end = start
        while (end < Math.min(last, start + slots - 1) && checker.ownerOf(keyspace, slotText(end + 1)).id === source)
          end++
        const target = scheduler.pick(shards.filter(({ id }) => id !== source)).id
        if (!isHeld(keyspace, slotText(start), slotText(end)))
          planned.push({ keyspace, source, target, ranges: [[slotText(start), slotText(end)]] })
      }
    }
    return planned
  }

  async #steer(move: MoveRecord): Promise<void> {
    const { scheduler, directory, faults, checker, happened } = this.#world
    if (move.stuck !== null) return this.#resolve(move.id, 'retry')
    const other = move.captureStopped ? 'reverse' : 'complete'
    const verb = move.state === 'settling' ? scheduler.pick(['reverse', 'complete', other] as const) : 'abort'
    if (verb === 'abort' && scheduler.chance(0.75)) return
    try {
      await callDirectory(
        this.#world,
        this.#process,
        () => null,
        () => {
          const { captureStopped } = directory.records.find(move.id)!
          if (verb === 'reverse' && captureStopped)
            happened['was not reversed because its capture had stopped'].add(move.id)
          directory.records[verb](move.id)
          if (verb === 'reverse' && captureStopped)
            checker.report(`M2: ${move.id} was reversed although its target had stopped capturing changes`)
        },
      )
      this.#world.note(() => `operator: ${verb} ${move.id}`)
      if (verb === 'abort') faults.count(this.#world.mover(move.id).step, 'abort')
      this.#world.wakeMoves([move.id], this.#process)
    } catch (error) {
      this.#world.note(() => `operator: ${(error as Error).message}`)
    }
  }

  /** While slots still wait for a manual repair, there is nothing to leave alone, so the choice is to retry. */
  async #resolve(id: string, how: 'retry' | 'as offered'): Promise<void> {
    const mover = this.#world.mover(id)
    try {
      const choice = how === 'retry' ? how : (await mover.choices())[0]
      if (!choice) return
      const isSafe = await mover.resolve(choice)
      this.#world.note(() => `operator: ${choice} ${id}: ${isSafe ? 'safe' : 'not safe'}`)
      if (isSafe) this.#world.happened['was resolved'].add(id)
    } catch (error) {
      this.#world.note(() => `operator: ${(error as Error).message}`)
    }
  }
}

/** The faults around the moves. Each is counted at the step that each open move has reached. */
export function trouble(world: World): void {
  const { scheduler, faults } = world
  const met = (fault: Fault) => world.strike(fault)
  const kinds: (() => void)[] = [
    () => {
      met('directory evicted')
      world.directory.evict()
    },
    () => {
      met('directory unavailable')
      world.directory.place.unavailableUntil = scheduler.now() + scheduler.between(50, 3_000)
    },
    () => {
      met('shard unavailable')
      scheduler.pick(world.shards).place.unavailableUntil = scheduler.now() + scheduler.between(50, 900)
    },
    () => {
      met('shard restarted')
      restart(scheduler.pick(world.shards).place)
    },
    () => {
      met('isolate frozen')
      const isolate = scheduler.chance(0.4) ? world.visitors : world.isolate()
      isolate.freeze(scheduler.between(300, 5_000))
    },
    () => {
      met('isolate replaced')
      if (scheduler.chance(0.2)) world.replaceVisitors()
      else world.replaceIsolate(scheduler.below(world.isolates.length))
    },
    () => {
      met('clock step')
      // Together less than the margin that is added to a lease's end.
      const { process } = world.isolate()
      process.skewMs += scheduler.pick([-1, 1]) * scheduler.between(0, 120)
      world.directory.process.skewMs = scheduler.between(-250, 250)
    },
    () => {
      const shard = scheduler.pick(world.shards)
      shard.isReadOnly = scheduler.chance(0.15)
      scheduler.after(300, () => {
        shard.isReadOnly = false
      })
    },
    () => {
      met('disk full')
      const shard = scheduler.pick(world.shards)
      shard.isFull = true
      scheduler.after(scheduler.between(100, scheduler.pick([600, 4_000])), () => {
        shard.isFull = false
      })
    },
    () => {
      const repairsAfterMs = scheduler.between(100, scheduler.pick([1_000, 6_000, 20_000]))
      if (world.meddling.meddle(repairsAfterMs)) met('slot meddled')
    },
    () => {
      world.kv.isDown = scheduler.chance(0.3)
      world.isQueueDown = scheduler.chance(0.3)
    },
  ]
  if (world.hasReplicas)
    kinds.push(() => {
      if (world.losePrimary()) met('primary lost')
    })
  scheduler.after(scheduler.between(100, 700), function strike() {
    if (faults.isCalm) return
    scheduler.pick(kinds)()
    scheduler.after(scheduler.between(200, 2_400), strike)
  })
}
