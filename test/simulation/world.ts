import type { AccountTiers } from '../../src/app/accounts/accounts.ts'
import { accountExpiries, accountJobs } from '../../src/app/accounts/jobs.ts'
import { IsolateCache } from '../../src/cache/isolate-cache.ts'
import { KvStore } from '../../src/cache/kv-store.ts'
import { ReadThroughCache } from '../../src/cache/read-through.ts'
import { type Clock, inTime, TimeBudget } from '../../src/core/clock.ts'
import type { IdSource } from '../../src/core/ids.ts'
import { createIdSource } from '../../src/core/ids.ts'
import { limits } from '../../src/core/limits.ts'
import type { Log } from '../../src/core/log.ts'
import { present } from '../../src/core/present.ts'
import type { Random } from '../../src/core/random.ts'
import { consume } from '../../src/jobs/consumer.ts'
import { Dispatch } from '../../src/jobs/dispatch.ts'
import { type Duty, runDuties } from '../../src/jobs/duties.ts'
import { expire, platformExpiries } from '../../src/jobs/housekeeping.ts'
import type { JobKinds } from '../../src/jobs/kinds.ts'
import type { Mail } from '../../src/jobs/mail.ts'
import type { Job } from '../../src/jobs/outbox.ts'
import { noPauses, Pauses } from '../../src/jobs/pauses.ts'
import { Relay } from '../../src/jobs/relay.ts'
import { KeptAnswers } from '../../src/resharding/kept-answers.ts'
import { Mover, type MoverOptions } from '../../src/resharding/move.ts'
import { MoveAlarm } from '../../src/resharding/move-alarm.ts'
import { MovePlanning } from '../../src/resharding/move-planning.ts'
import { MoveRecords } from '../../src/resharding/move-records.ts'
import type { MoveAnswer, MoveChange, MoveChoice, MoveRecord, RemoteMoveRecords } from '../../src/resharding/record.ts'
import { SCHEMA_VERSION } from '../../src/resharding/shard-side.ts'
import { Sessions } from '../../src/sessions/sessions.ts'
import { Stamps } from '../../src/sessions/stamps.ts'
import { Claims } from '../../src/sharding/claims.ts'
import { Directory } from '../../src/sharding/directory.ts'
import { Idempotency } from '../../src/sharding/idempotency.ts'
import { type MapCopies, MapHolder, type MapRequest } from '../../src/sharding/map-holder.ts'
import { type ReplicaCounts, Replicas } from '../../src/sharding/replicas.ts'
import type { ShardCall } from '../../src/sharding/routing.ts'
import type { MapWire } from '../../src/sharding/shard-map.ts'
import { Shards } from '../../src/sharding/shards.ts'
import { StatementBudget } from '../../src/sharding/statement-budget.ts'
import {
  advanced,
  type CausalToken,
  formatCausalToken,
  noToken,
  ownSlotsOf,
  readCausalToken,
} from '../../src/web/causal-token.ts'
import type { Settings } from '../../src/web/context.ts'
import { d1Binding, type SentAnswer, type SentCall } from '../support/d1-binding.ts'
import { UnkindKv } from '../support/kv-double.ts'
import { seededRandom } from '../support/sharding-doubles.ts'
import { BULK, bulkJob } from './bulk-jobs.ts'
import { copiesOf, DataCentre, kvOf, scaledCache } from './caches.ts'
import { Checker, type Effect, type Executed } from './checker.ts'
import { type Fault, Faults, moverSteps } from './faults.ts'
import { Meddling } from './meddling.ts'
import { newPlace, type Place, restart, travel } from './network.ts'
import { nounJobs } from './noun-jobs.ts'
import { Process } from './processes.ts'
import { ReplicatedShard } from './replicated-shards.ts'
import {
  CACHED_STALE_MS,
  GRACE_MS,
  INVOCATION_STATEMENTS_MAX,
  LAGS_MS_MAX,
  LEASE_MS,
  QUEUE_BATCH_BYTES_MAX,
  QUEUE_BATCH_MESSAGES_MAX,
  QUEUE_MESSAGE_BYTES_MAX,
  QUEUE_MESSAGE_OVERHEAD_BYTES,
  STALE_MS,
} from './scale.ts'
import { Scheduler } from './scheduler.ts'
import type { Template, TemplateShard } from './template.ts'

const ISOLATES = 3
const SIGNING_KEY = 'a key of at least 32 characters, for tests only'
const CRON_MS = 4_000
/** How far an isolate's clock may differ from the others'. */
const SKEW_MS_MAX = 90_000
/** Of an isolate's cache: a few posts. */
const CACHE_BYTES = 5_000
/**
 * In the simulation, no delay or freeze lasts longer than 45 s, just as elsewhere none lasts a day or a month. The rest
 * of the time is for rows dated by a slow clock. A day is longer than any clock is wrong.
 */
const EXPIRES_AFTER_MS_MAX = SKEW_MS_MAX + 45_000
/** Jobs are retried within seconds here, so a fault of some seconds must not use up their attempts. */
const JOB_ATTEMPTS_MAX = 100
const expiries = [...platformExpiries, ...accountExpiries].map((expiry) => ({
  ...expiry,
  afterMs: Math.min(expiry.afterMs, EXPIRES_AFTER_MS_MAX),
}))

/** A shard and the network path to it. */
export interface Shard extends TemplateShard {
  place: Place
  isReadOnly: boolean
  /** The disk is full. Calls that need room are refused, and all others are executed. */
  isFull: boolean
  replicated: ReplicatedShard | null
}

/** The statements that one invocation sends: a request, a turn of a mover, a batch of a queue or a run of the cron. */
class Invocation {
  readonly kind: string
  sent = 0

  constructor(kind: string) {
    this.kind = kind
  }
}

/** The events that are counted per move. */
export type Happening =
  | 'waited for lanes'
  | 'stopped its capture'
  | 'was not reversed because its capture had stopped'
  | 'was stuck'
  | 'was resolved'
  | 'was planned in an earlier attempt'
  | 'had a turn that spent its statements'
  | 'failed because a disk was full'

/** The whole application around one template. A seed decides everything that happens. */
export class World {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly faults: Faults
  readonly checker: Checker
  readonly template: Template
  readonly shards: Shard[]
  readonly directory: DirectoryHost
  readonly movers = new Map<string, MoverHost>()
  readonly isolates: Isolate[] = []
  /** An isolate that nothing writes through, so it learns of a new map only when its lease ends. */
  visitors!: Isolate
  readonly centres = [new DataCentre(), new DataCentre()]
  readonly kv: UnkindKv
  readonly mails: Mail[] = []
  /** Calls that their senders abandoned, and that will still arrive. */
  held = 0
  /** Messages in the queue that are not acknowledged. */
  queued = 0
  /** Messages that were postponed because a consumer's budget was too small. */
  putOff = 0
  isQueueDown = false
  /** The moves that each event happened to. */
  readonly happened: Record<Happening, Set<string>> = {
    'waited for lanes': new Set(),
    'stopped its capture': new Set(),
    'was not reversed because its capture had stopped': new Set(),
    'was stuck': new Set(),
    'was resolved': new Set(),
    'was planned in an earlier attempt': new Set(),
    'had a turn that spent its statements': new Set(),
    'failed because a disk was full': new Set(),
  }
  /** Reads that waited for a replica, or fell back to the primary. */
  readonly replicaReads: ReplicaCounts = { waited: 0, fellBack: 0 }
  /** The number of promotions, and of acknowledged writes that they took back. */
  readonly promotions = { promotions: 0, 'lossy promotions': 0, 'acknowledged writes lost': 0 }
  /** How far behind a replica may be (ms). */
  readonly lagMsMax: number
  /** Called when a move has committed. */
  onCommit: () => void = () => undefined
  /** Moves that the directory has told to start or continue. */
  readonly runnable = new Set<string>()
  readonly meddling = new Meddling(this)
  readonly #changesByHand: Promise<unknown>[] = []
  /** The most statements that one invocation sent, by kind of invocation. */
  readonly statements: Record<string, number> = {}
  /** What happened, recorded if a trace is wanted. */
  readonly trace: string[] | null
  readonly userIds: string[]
  /** The messages that the queue hands to the next consumer. */
  readonly #messages: { job: Job; attempt: number }[] = []
  #isolateCount = 0
  #crons = 0

  constructor(
    template: Template,
    seed: number,
    { isTraced, hasReplicas }: { isTraced: boolean; hasReplicas: boolean },
  ) {
    this.template = template
    this.random = seededRandom(seed)
    this.scheduler = new Scheduler(this.random)
    this.faults = new Faults(this.scheduler)
    this.trace = isTraced ? [] : null
    this.shards = template.shards.map((shard) => ({
      ...shard,
      place: newPlace(shard.id),
      isReadOnly: false,
      isFull: false,
      replicated: null,
    }))
    this.lagMsMax = hasReplicas ? this.scheduler.pick(LAGS_MS_MAX) : 0
    if (hasReplicas)
      for (const shard of this.shards) shard.replicated = new ReplicatedShard(shard, this.scheduler, this.lagMsMax)
    this.checker = new Checker(this)
    this.directory = new DirectoryHost(this)
    this.kv = new UnkindKv({ now: () => Math.floor(this.scheduler.now()), sleep: async () => undefined })
    const start = this.scheduler.below(template.userIds.length)
    this.userIds = [...template.userIds.slice(start), ...template.userIds.slice(0, start)]
    for (let index = 0; index < ISOLATES; index++) this.replaceIsolate(index)
    this.replaceVisitors()
    this.#cron()
  }

  get hasReplicas(): boolean {
    return this.lagMsMax > 0
  }

  /** How old a read may be: the last lease, and the lag of the replica that answers. */
  get staleMs(): number {
    return STALE_MS + this.lagMsMax
  }

  /** The same for a read that caches may answer. */
  get cachedStaleMs(): number {
    return CACHED_STALE_MS + this.lagMsMax
  }

  note(line: () => string): void {
    if (!this.trace) return
    this.trace.push(`${((this.scheduler.now() - 1_700_000_000_000) / 1_000).toFixed(3).padStart(8)}  ${line()}`)
  }

  /** A fault that is not one call's. It is counted at the step that each open move has reached. */
  strike(fault: Fault): void {
    for (const { id } of this.openMoves()) {
      const { step } = this.mover(id)
      if ((moverSteps as readonly string[]).includes(step)) this.faults.count(step, fault)
    }
    this.note(() => `trouble: ${fault}`)
  }

  /** Throws the platform's error if an invocation sends more than it may. */
  spend(invocation: Invocation, statements: number, step: string): void {
    invocation.sent += statements
    const { kind, sent } = invocation
    if (sent > (this.statements[kind] ?? 0)) this.statements[kind] = sent
    if (sent <= INVOCATION_STATEMENTS_MAX) return
    this.checker.report(`a ${kind} sent ${sent} statements, but may send ${INVOCATION_STATEMENTS_MAX} (${step})`)
    throw new Error('D1_ERROR: Too many API requests by single worker invocation.')
  }

  late = (change: 1 | -1): void => {
    this.held += change
  }

  /** Replaces an isolate with a cold one that has its own clock. */
  replaceIsolate(index: number): void {
    this.isolates[index]?.process.die()
    // Some clocks are wrong by much more than a lease. It only matters that they run at the same rate.
    const skewMs = this.scheduler.pick([0, 0, 0, 300, -300, -SKEW_MS_MAX, SKEW_MS_MAX])
    this.isolates[index] = new Isolate(this, new Process(this.scheduler, `isolate ${++this.#isolateCount}`, skewMs))
  }

  replaceVisitors(): void {
    this.visitors?.process.die()
    const skewMs = this.scheduler.pick([0, 0, 300, -300, -SKEW_MS_MAX])
    this.visitors = new Isolate(this, new Process(this.scheduler, `visitors ${++this.#isolateCount}`, skewMs))
  }

  /** The primary of a shard with replicas becomes unavailable, until a replica takes its place. False if none can. */
  losePrimary(): boolean {
    const { scheduler } = this
    // A lost step of a move, or a lost claim, needs an operator, as after a restore.
    const moving = new Set(this.openMoves().flatMap(({ source, target }) => [source.id, target.id]))
    const mayLose = scheduler.chance(0.6)
    const shards = this.shards.filter(
      ({ id, replicated }) =>
        replicated && !replicated.isPrimaryLost && replicated.replicas.length > 0 && !(mayLose && moving.has(id)),
    )
    if (shards.length === 0) return false
    const shard = scheduler.pick(shards)
    const replicated = present(shard.replicated, 'the replicas of a shard that has some')
    const isLossy = replicated.losePrimary(mayLose)
    this.note(() => `${shard.id}: the primary is lost${isLossy ? ', with the end of its log' : ''}`)
    scheduler.after(scheduler.between(200, scheduler.pick([1_000, 5_000])), () => void this.promote(shard))
    return true
  }

  async promote({ id, replicated }: Shard): Promise<void> {
    if (!replicated?.isPrimaryLost) return
    const { lost, isEqual } = await replicated.promote()
    const acknowledged = this.checker.lost({ shard: id, position: replicated.replication.log.length })
    this.note(() => `${id}: a replica was promoted; ${lost} calls are lost, with ${acknowledged} acknowledged writes`)
    this.promotions.promotions++
    if (lost > 0) this.promotions['lossy promotions']++
    this.promotions['acknowledged writes lost'] += acknowledged
    if (!isEqual) this.checker.report(`the promoted replica of ${id} does not have what its log says`)
  }

  /** A statement of an operator, outside of the application. */
  byHand({ simulated, replicated }: Shard, sql: string, ...values: unknown[]): void {
    const statements = [{ sql, values }]
    if (replicated)
      this.#changesByHand.push(replicated.ask({ statements, shape: 'objects', start: null }, (execute) => execute()))
    else simulated.execute({ statements })
  }

  /** Resolves when every change by hand has been executed. A replicated shard takes them in turn. */
  async byHandDone(): Promise<void> {
    await Promise.all(this.#changesByHand)
  }

  /** What replicas did, by name. */
  replicaSums(): Record<string, number> {
    const replications = this.shards.flatMap(({ replicated }) => replicated?.replication ?? [])
    const replicas = replications.flatMap((replication) => replication.replicas)
    return {
      'reads by replicas': replicas.reduce((sum, { reads }) => sum + reads, 0),
      'reads by primaries': replications.reduce((sum, { primary }) => sum + primary.reads, 0),
      'waits for a bookmark': replicas.reduce((sum, { waits }) => sum + waits, 0),
      'reads that fell back': this.replicaReads.fellBack,
      ...this.promotions,
    }
  }

  isolate(): Isolate {
    return this.scheduler.pick(this.isolates)
  }

  /** A separate isolate, such as a consumer or the cron has. */
  freshIsolate(name: string): Isolate {
    return new Isolate(this, new Process(this.scheduler, name))
  }

  mover(moveId: string): MoverHost {
    const known = this.movers.get(moveId)
    if (known) return known
    const host = new MoverHost(this, moveId)
    this.movers.set(moveId, host)
    return host
  }

  /** Some wake-ups are lost. The cron then finds the move. */
  wakeMoves(ids: string[], from: Process): void {
    for (const id of ids) {
      const mover = this.mover(id)
      if (this.scheduler.chance(0.1) && !this.faults.isCalm) this.faults.count(mover.step, 'wake-up lost')
      else mover.wake(from)
    }
  }

  openMoves(): MoveRecord[] {
    return this.directory.records.open()
  }

  enqueue(job: Job): void {
    this.queued++
    const twice = this.scheduler.chance(0.1) && !this.faults.isCalm
    if (twice) this.queued++
    for (let copies = twice ? 2 : 1; copies > 0; copies--) this.#deliver(job, 1, this.scheduler.between(1, 600))
  }

  #deliver(job: Job, attempt: number, afterMs: number): void {
    this.scheduler.after(afterMs, () => {
      if (this.#messages.length === 0) this.scheduler.after(this.scheduler.between(0, 60), () => this.#consume())
      this.#messages.push({ job, attempt })
    })
  }

  /** A consumer that dies acknowledges nothing, so its messages are delivered again. */
  #consume(): void {
    const isolate = this.freshIsolate('consumer')
    const messages = this.#messages.splice(0).map(({ job, attempt }) => {
      let isSettled = false
      const settle = () => {
        if (isSettled) return
        isSettled = true
        this.queued--
      }
      const again = (delayMs: number) => {
        if (isSettled) return
        isSettled = true
        this.#deliver(job, attempt + 1, delayMs)
      }
      isolate.process.onDeath(() => again(500))
      return {
        id: job.id,
        body: job,
        attempts: attempt,
        ack: settle,
        retry: (options?: { delaySeconds?: number }) => again(Math.min(2_000, (options?.delaySeconds ?? 1) * 1_000)),
      }
    })
    const { dispatch, budget } = isolate.request({ ms: limits.queueBatchMs, isJob: true })
    const log: Log = {
      ...isolate.log,
      warn: (event, fields) => {
        isolate.log.warn(event, fields)
        if (event === 'job.put-off') this.putOff++
      },
    }
    void consume({ messages } as unknown as MessageBatch, dispatch, log, budget)
    if (this.scheduler.chance(0.03) && !this.faults.isCalm)
      this.scheduler.after(this.scheduler.between(1, 40), () => isolate.process.die())
  }

  /** Housekeeping names only slots that take writes, so no fence may ever refuse it. */
  #housekeepingLog({ log }: Isolate): Log {
    return {
      ...log,
      error: (event, fields) => {
        log.error(event, fields)
        const { error } = (fields ?? {}) as { error?: string }
        if (error && /SLOT_(FENCED|NOT_OWNED)/.test(error))
          this.checker.report(`M6: housekeeping was refused, so it deletes nothing: ${error}`)
      },
    }
  }

  #cron(): void {
    this.scheduler.after(CRON_MS, () => {
      this.#cron()
      const isolate = this.freshIsolate('cron')
      const { relay, tiers, budget } = isolate.request({ ms: limits.cronMs, isJob: true })
      const { clock } = isolate.process
      const log = this.#housekeepingLog(isolate)
      const duties: Duty[] = [
        { name: 'outbox.swept', run: (window) => relay.sweep(window) },
        { name: 'claims.settled', run: async (window) => (await tiers.claims.settleExpired(window)).settled },
        { name: 'rows.expired', run: (window) => expire(tiers.shards, expiries, clock, log, window) },
      ]
      void runDuties(duties, { turn: ++this.#crons, budget, log })
      void this.#wakeAsleep(isolate.process)
    })
  }

  async #wakeAsleep(process: Process): Promise<void> {
    const draw = () => this.faults.ofCall()
    try {
      const asleep = await callDirectory(this, process, draw, () => this.directory.records.movesToWake(100))
      for (const id of asleep) this.mover(id).wake(process)
    } catch (error) {
      this.note(() => `cron: ${String(error)}`)
    }
  }
}

/** The directory's Durable Object. Its storage stays, while its instances are replaced. */
export class DirectoryHost {
  readonly place = newPlace('directory')
  readonly #world: World
  #process!: Process
  #directory!: Directory
  #records!: MoveRecords
  #planning!: MovePlanning
  #answers!: KeptAnswers
  #instances = 0
  #moves = 0

  constructor(world: World) {
    this.#world = world
    this.#start(0)
  }

  get records(): MoveRecords {
    return this.#records
  }

  get planning(): MovePlanning {
    return this.#planning
  }

  get answers(): KeptAnswers {
    return this.#answers
  }

  get process(): Process {
    return this.#process
  }

  evict(): void {
    const { skewMs } = this.#process
    this.#process.die()
    restart(this.place)
    this.#start(skewMs)
  }

  async map(): Promise<MapWire> {
    return structuredClone(await this.#directory.map())
  }

  #start(skewMs: number): void {
    const world = this.#world
    this.#process = new Process(world.scheduler, `directory ${++this.#instances}`, skewMs)
    const { clock } = this.#process
    const sleep: Clock['sleep'] = (ms, signal) => clock.sleep(ms + world.scheduler.between(0, 20), signal)
    // Between two pieces of a plan, other calls run, and the object may be replaced.
    const common = { storage: world.template.storage, clock: { ...clock, sleep } }
    const shards = connections(
      world,
      this.#process,
      () => 'schema version',
      () => null,
      { invocation: () => new Invocation('planning') },
    )
    this.#directory = new Directory({ ...common, shards, newDeploymentId: () => 'simulated' })
    const process = this.#process
    this.#answers = new KeptAnswers(common.storage, common.clock)
    this.#records = new MoveRecords({
      ...common,
      directory: this.#directory,
      leaseMs: LEASE_MS,
      graceMs: GRACE_MS,
      onRunnable: (ids) => {
        for (const id of ids) world.runnable.add(id)
        world.wakeMoves(ids, process)
      },
    })
    this.#planning = new MovePlanning({
      clock: common.clock,
      directory: this.#directory,
      records: this.#records,
      newId: () => `move-${++this.#moves}`,
      shardFacts: async ({ binding }) => ({
        schema: (await shards.get(binding)!.prepare(SCHEMA_VERSION).first<string>('version'))!,
        bytes: null,
      }),
      newestMigration: '',
    })
  }
}

/** A move's Durable Object: an alarm, and incarnations, several of which may be active at once. */
export class MoverHost {
  readonly #world: World
  readonly #moveId: string
  #alarmAt: number | null = null
  #kept: string | null = null
  #ringing = 0
  #count = 0
  #object: { process: Process; alarm: MoveAlarm; person(): Mover } | null = null
  /** The step that the latest incarnation has reached. */
  step = 'find'

  constructor(world: World, moveId: string) {
    this.#world = world
    this.#moveId = moveId
  }

  wake(from: Process): void {
    const { scheduler } = this.#world
    scheduler.after(scheduler.between(1, 10), () => {
      if (from.isAlive) void this.#current().alarm.wake(this.#moveId)
    })
  }

  /** A second incarnation next to the active one, as when the object was replaced and does not know it yet. */
  twin(): void {
    if (this.#ringing === 0 || !this.#object) return
    this.#object = null
    this.#ring()
  }

  /** The choices that an operator is offered now. */
  async choices(): Promise<MoveChoice[]> {
    return (await this.#current().person().sides(this.#moveId))?.choices ?? []
  }

  /**
   * Carries out an operator's choice, like the object, next to a turn that may be running. Resolves to whether it was
   * safe.
   */
  async resolve(choice: MoveChoice): Promise<boolean> {
    const { alarm, person } = this.#current()
    try {
      const isSafe = await person().resolve(this.#moveId, choice)
      if (isSafe && choice !== 'undo') await alarm.wake(this.#moveId)
      return isSafe
    } catch (error) {
      await alarm.wake(this.#moveId)
      throw error
    }
  }

  #current() {
    if (this.#object?.process.isAlive) return this.#object
    const world = this.#world
    const process = new Process(
      world.scheduler,
      `mover ${this.#moveId}.${++this.#count}`,
      world.scheduler.pick([0, 0, 200, -200]),
    )
    const turn = { now: new Invocation('turn') }
    const draw = () => world.faults.ofMover()
    const options = (invocation: () => Invocation, firstStep: string): MoverOptions => {
      const step = { now: firstStep }
      const at = (name: string) => {
        step.now = name
        this.step = name
      }
      return {
        records: remoteRecords(world, process, at),
        shards: connections(world, process, () => step.now, draw, { invocation }),
        clock: process.clock,
        random: world.random,
        log: tracingLog(world, process.name),
        share: 0.5,
        observer: {
          async before(_shard, operation) {
            at(operation)
          },
        },
      }
    }
    const mover = new Mover(options(() => turn.now, 'find'))
    // An operator's call is an invocation of its own.
    const person = () => {
      const invocation = new Invocation('resolve')
      return new Mover(options(() => invocation, 'sides'))
    }
    const storage = {
      findMove: async () => this.#kept,
      keepMove: async (moveId: string) => {
        this.#kept = moveId
      },
      setAlarm: async (time: number) => {
        // The object's clock may be wrong; the platform's alarm is not.
        this.#setAlarm(time - process.skewMs)
      },
      deleteAlarm: async () => {
        this.#alarmAt = null
      },
    }
    const alarm = new MoveAlarm(storage, process.clock, async (moveId) => {
      turn.now = new Invocation('turn')
      const comeBackAt = await mover.turn(moveId)
      // The mover rests if the next round may not fit.
      if (mover.statementsSent > INVOCATION_STATEMENTS_MAX * 0.6)
        world.happened['had a turn that spent its statements'].add(moveId)
      return comeBackAt
    })
    this.#object = { process, alarm, person }
    process.onDeath(() => {
      this.#ringing = Math.max(0, this.#ringing - 1)
    })
    return this.#object
  }

  #setAlarm(at: number): void {
    this.#alarmAt = at
    this.#world.scheduler.after(Math.max(0, at - this.#world.scheduler.now()), () => this.#due(at))
  }

  #due(at: number): void {
    if (this.#alarmAt !== at) return
    if (this.#ringing > 0 && this.#object?.process.isAlive) {
      // An alarm waits for the running one, unless the object was presumed dead.
      this.#world.scheduler.after(50, () => this.#due(at))
      return
    }
    const { scheduler, faults } = this.#world
    // After too many retries, only the cron wakes it.
    if (scheduler.chance(0.02) && !faults.isCalm) return
    this.#alarmAt = null
    this.#ring()
    if (scheduler.chance(0.03) && !faults.isCalm) {
      faults.count(this.step, 'twin')
      scheduler.after(scheduler.between(0, 300), () => this.twin())
    }
  }

  #ring(): void {
    const { process, alarm } = this.#current()
    this.#ringing++
    this.#world.note(() => `${process.name} rings`)
    void alarm.ring().then(() => {
      if (process.isAlive) this.#ringing = Math.max(0, this.#ringing - 1)
    })
  }
}

/** The tiers of one request. */
export type SimulatedRequest = ReturnType<Isolate['request']>

/** An isolate of the Worker: the map it holds, and the tiers of its requests. */
export class Isolate {
  readonly process: Process
  readonly holder: MapHolder
  readonly stamps = new Stamps(100)
  readonly cache: IsolateCache
  readonly pauses = noPauses()
  readonly log: Log
  /** Until when it is frozen (true time, ms). */
  frozenUntil = 0
  readonly #world: World
  readonly #copies: MapCopies
  readonly #kv: KVNamespace

  constructor(world: World, process: Process) {
    this.#world = world
    this.process = process
    this.holder = new MapHolder(process.clock, LEASE_MS)
    this.cache = new IsolateCache(() => process.clock.now(), CACHE_BYTES, world.scheduler.random)
    this.log = tracingLog(world, process.name)
    this.#copies = copiesOf(world, process, world.scheduler.pick(world.centres), this.log)
    this.#kv = kvOf(world, process, world.kv)
  }

  freeze(ms: number): void {
    this.frozenUntil = Math.max(this.frozenUntil, this.#world.scheduler.now() + ms)
    this.process.freeze(ms)
  }

  /** The tiers of one request. `atLeastEpoch` is the client's; `effect` is what the request is meant to change. */
  request({
    client = null,
    isJob = false,
    effect = null,
    ms = limits.requestMs,
  }: {
    client?: { causal: CausalToken; token?: string | null | undefined } | null
    /** Jobs read at the primaries. */
    isJob?: boolean
    effect?: Effect | null
    ms?: number
  } = {}) {
    const world = this.#world
    const { clock } = this.process
    const { causal, ownSlots } = received(client?.causal ?? noToken, client?.token ?? null, world.scheduler.now())
    const written = { yet: false, slots: new Set<string>() }
    const replicas = world.hasReplicas && !isJob ? new Replicas(causal, (event) => world.replicaReads[event]++) : null
    const calls = new Map<string, ShardCall[]>()
    const current = { call: null as ShardCall | null }
    const budget = new StatementBudget()
    const time = new TimeBudget(clock, ms)
    const invocation = new Invocation(this.process.name.split(' ')[0]!)
    const waitUntil = (promise: Promise<unknown>) => void promise.catch((error: unknown) => error)
    const request: MapRequest = {
      copies: this.#copies,
      log: this.log,
      waitUntil,
      source: {
        map: () =>
          callDirectory(
            world,
            this.process,
            () => world.faults.ofCall(),
            () => world.directory.map(),
          ),
      },
    }
    const shards = new Shards({
      holder: this.holder,
      request,
      shards: budget.meterOnUse(
        connections(
          world,
          this.process,
          (shardId) => {
            current.call = calls.get(shardId)?.shift() ?? null
            return current.call?.operation ?? 'unnamed'
          },
          () => world.faults.ofCall(),
          { invocation: () => invocation, callOf: () => current.call, effect },
        ),
      ),
      clock,
      random: world.random,
      time,
      atLeastEpoch: causal.epoch,
      observer: {
        before(call) {
          const waiting = calls.get(call.shard)
          if (waiting) waiting.push(call)
          else calls.set(call.shard, [call])
        },
        after(call, _ms, error) {
          if (call.kind !== 'write' || error !== null) return
          written.yet = true
          if (call.slot !== '*') written.slots.add(call.slot)
        },
      },
      ...(replicas ? { replicas } : {}),
    })
    const ids = idSource(world, clock)
    const common = { clock, random: world.random, log: this.log, shards, ids }
    const primary = shards.atPrimary()
    const dispatch = new Dispatch({
      ...common,
      pauses: new Pauses({ ...common, shards: primary, known: this.pauses }),
      follow: (jobs) => relay.send(jobs),
      shards: primary,
      kinds: {
        ...patientJobs(accountJobs({ signingKey: SIGNING_KEY, sendMail: async (mail) => void world.mails.push(mail) })),
        ...patientJobs(nounJobs),
        [BULK]: bulkJob,
      },
    })
    const queue = {
      sendBatch: async (messages: Iterable<{ body: Job }>) => {
        if (time.isSpent) throw new Error('no time is left')
        await this.process.clock.sleep(2)
        if (world.isQueueDown) throw new Error('Queue sendBatch failed: 500 Internal Server Error')
        const batch = [...messages]
        refuseTooLarge(batch)
        for (const { body } of batch) world.enqueue(body)
      },
    } as unknown as Queue
    const relay = new Relay({
      ...common,
      shards: primary,
      mode: 'queue',
      queues: { mail: queue, jobs: queue, media: queue, purges: queue },
      dispatch,
    })
    const kv = new KvStore(this.#kv, this.log, () => undefined, clock)
    const cache = new ReadThroughCache({ ...common, isolate: this.cache, kv, ownSlots, waitUntil })
    const tiers: AccountTiers = {
      ...common,
      cache: scaledCache(cache),
      settings: { signingKey: SIGNING_KEY } as Settings,
      claims: new Claims(shards, clock),
      idempotency: new Idempotency(shards, clock, SIGNING_KEY, () => {
        written.yet = true
        replicas?.acknowledgeSeen()
      }),
      sessions: new Sessions({
        ...common,
        copies: kv,
        stamps: this.stamps,
        signingKey: SIGNING_KEY,
        waitUntil,
      }),
      // Runs after the response. If the isolate dies, the sweeper finds the rows.
      follow: (jobs) =>
        this.process.after(1, () => {
          time.restart(limits.afterResponseMs)
          void relay.send(jobs)
        }),
      waitUntil,
    }
    return {
      tiers,
      dispatch,
      relay,
      invocation,
      budget,
      /** The client's causal token after the answer, like the Worker's. */
      causal(): CausalToken {
        const { epoch } = shards
        if (epoch === null || !written.yet) return causal
        return advanced(causal, { epoch, slots: written.slots, bookmarks: replicas?.written ?? new Map() })
      },
    }
  }
}

/** What a request brings along, as the Worker reads it. */
function received(causal: CausalToken, token: string | null, now: number) {
  const headers = new Headers({ 'x-causal-token': formatCausalToken(SIGNING_KEY, causal, now) })
  if (token) headers.set('authorization', `Bearer ${token}`)
  const request = new Request('http://localhost/', { headers })
  const read = readCausalToken(request, SIGNING_KEY, now)
  return { causal: read, ownSlots: ownSlotsOf(request, read) }
}

const patientJobs = (kinds: JobKinds): JobKinds =>
  Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, { ...kind, attemptsMax: JOB_ATTEMPTS_MAX }]))

/** Queues counts the body as JSON, and refuses a whole call. */
function refuseTooLarge(messages: { body: Job }[]): void {
  const sizes = messages.map(({ body }) => Buffer.byteLength(JSON.stringify(body)) + QUEUE_MESSAGE_OVERHEAD_BYTES)
  const isTooLarge =
    messages.length > QUEUE_BATCH_MESSAGES_MAX ||
    sizes.some((size) => size > QUEUE_MESSAGE_BYTES_MAX) ||
    sizes.reduce((sum, size) => sum + size, 0) > QUEUE_BATCH_BYTES_MAX
  if (isTooLarge) throw new Error('Queue sendBatch failed: Payload Too Large')
}

function idSource(world: World, clock: { now(): number }): IdSource {
  const source = createIdSource({ now: () => clock.now(), sleep: async () => undefined }, world.random)
  return {
    ...source,
    userId() {
      const id = world.userIds.shift()
      if (!id) throw new Error('the template has too few user ids')
      return id
    },
  }
}

/** The shards' bindings as one process sees them. `operation` is called once per call, in the order of the calls. */
function connections(
  world: World,
  process: Process,
  operation: (shardId: string) => string,
  draw: () => ReturnType<Faults['ofCall']>,
  {
    invocation,
    callOf = () => null,
    effect = null,
  }: { invocation: () => Invocation; callOf?: () => ShardCall | null; effect?: Effect | null },
): Map<string, D1Database> {
  const isMover = process.name.startsWith('mover')
  const delay = isMover ? () => world.scheduler.between(2, 14) : () => world.scheduler.between(1, 6)
  return new Map(
    world.shards.map((shard) => [
      shard.binding,
      connectionTo(shard, async (call, at, arrive) => {
        const step = operation(shard.id)
        const shardCall = callOf()
        world.spend(invocation(), call.statements.length, step)
        const fault = draw()
        const sentAt = world.scheduler.now()
        if (isMover && fault) world.faults.count(step, fault)
        if (fault) world.note(() => `${process.name}: ${step} at ${shard.id}: ${fault}`)
        try {
          const answer = await travel(world.scheduler, { from: process, to: at, fault, delay }, world.late, () =>
            arrive((execute) => execution(world, { shard, process, step, appCall: shardCall, call, effect }, execute)),
          )
          const meta = answer.results[0]?.meta
          if (meta?.served_by_primary === false)
            world.note(() => `${process.name}: ${step} at ${shard.id}, ${meta.served_by}: ${answer.bookmark}`)
          return answer
        } catch (error) {
          // What a request stores about its session, and its counted attempt, are not part of its effect.
          // If the isolate was frozen, the router has stopped waiting and does not see the error.
          const isHeard = world.scheduler.now() - sentAt < limits.shardCallMs
          if (effect && isHeard && error === diskFull && !/^(?:sessions\.|accounts\.attempt-)/.test(step))
            effect.write.isToldFull = true
          throw error
        }
      }),
    ]),
  )
}

type Through = (execute: () => D1Result<unknown>[]) => D1Result<unknown>[]

/** `network` makes the round trip to a place, where `arrive` has the effect. Only the primary executes `through`. */
function connectionTo(
  { simulated, place, replicated }: Shard,
  network: (
    call: SentCall,
    at: Place,
    arrive: (through: Through) => SentAnswer | Promise<SentAnswer>,
  ) => Promise<SentAnswer>,
): D1Database {
  if (replicated)
    return d1Binding((call) =>
      network(call, replicated.placeOf(call, place), (through) => replicated.ask(call, through)),
    )
  return d1Binding((call) =>
    network(call, place, (through) => ({
      results: through(() => simulated.execute(call, call.shape)),
      bookmark: simulated.bookmark,
    })),
  )
}

function execution(
  world: World,
  batch: Omit<Executed, 'rows' | 'turned' | 'place'>,
  execute: () => D1Result<unknown>[],
): D1Result<unknown>[] {
  const { shard, process, step, call } = batch
  if (shard.isReadOnly && call.statements.some(({ sql }) => /^\s*(INSERT|UPDATE|DELETE)/.test(sql)))
    throw new Error('D1_ERROR: attempt to write a readonly database: SQLITE_READONLY')
  shard.changed.clear()
  try {
    const answers = shard.isFull ? onFullDisk(shard, execute) : execute()
    world.note(() => `${process.name}: ${step} at ${shard.id}`)
    const { rows, turned } = shard.changed
    const place = shard.replicated?.committing(batch.process.name, step, shard.changed) ?? null
    world.checker.executed({ ...batch, rows, turned, place: place && { shard: shard.id, position: place.position } })
    return answers
  } catch (error) {
    world.note(() => `${process.name}: ${step} at ${shard.id}: ${(error as Error).message}`)
    throw error
  }
}

const diskFull = new Error('D1_ERROR: database or disk is full: SQLITE_FULL')

/** Nothing of a call that needs room is executed. */
function onFullDisk({ sqlite, changed }: Shard, execute: () => D1Result<unknown>[]): D1Result<unknown>[] {
  sqlite.exec('SAVEPOINT disk')
  try {
    const answers = execute()
    if (changed.grown > 0) throw diskFull
    return answers
  } catch (error) {
    sqlite.exec('ROLLBACK TO disk')
    throw error
  } finally {
    sqlite.exec('RELEASE disk')
  }
}

export function callDirectory<T>(
  world: World,
  from: Process,
  draw: () => ReturnType<Faults['ofCall']>,
  handle: () => T | Promise<T>,
): Promise<T> {
  return travel(
    world.scheduler,
    { from, to: world.directory.place, fault: draw(), delay: () => world.scheduler.between(1, 8) },
    world.late,
    handle,
  )
}

function remoteRecords(world: World, process: Process, at: (step: string) => void): RemoteMoveRecords {
  const call = <T>(step: string, handle: () => T): Promise<T> => {
    at(step)
    const draw = () => {
      const fault = world.faults.ofMover()
      if (fault) {
        world.faults.count(step, fault)
        world.note(() => `${process.name}: ${step}: ${fault}`)
      }
      return fault
    }
    return inTime(process.clock, limits.directoryMs, callDirectory(world, process, draw, handle))
  }
  return {
    find: (id) => call('find', () => world.directory.records.find(id)),
    change: (seen, change, progress) =>
      call(callName(change), (): MoveAnswer => {
        const answer = world.directory.records.change(seen, change, progress)
        world.note(() => `${process.name}: ${JSON.stringify(change)}: ${answer.outcome}`)
        if (answer.outcome === 'recorded') {
          world.checker.recorded(answer.record)
          if (answer.record.state === 'committed') world.onCommit()
          if ('stuck' in change) world.happened['was stuck'].add(seen.id)
          if ('error' in change && change.error.includes('no room left'))
            world.happened['failed because a disk was full'].add(seen.id)
          if ('capture' in change) world.happened['stopped its capture'].add(seen.id)
        }
        return answer
      }),
    report: async (id, progress, notes) => {
      // An object of the previous version does not have this method.
      if (world.scheduler.chance(0.02) && !world.faults.isCalm)
        throw new TypeError('The RPC receiver does not implement the method "reportMove".')
      await call('find', () => world.directory.records.report(id, progress, notes))
    },
  }
}

/** The name of a mover's directory call in the table of faults. */
function callName(change: MoveChange): string {
  if ('to' in change) return `to ${change.to === 'failed' ? 'ended' : change.to}`
  if ('capture' in change) return 'to capture-stopped'
  if ('stuck' in change) return 'to stuck'
  return 'lanes' in change ? 'lanes' : 'choice'
}

function tracingLog(world: World, name: string): Log {
  const line = (event: string, fields?: object) =>
    world.note(() => `${name}: ${event} ${fields ? JSON.stringify(fields) : ''}`)
  return { info: line, warn: line, error: line }
}
