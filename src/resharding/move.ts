import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { Pace } from '../core/pace.ts'
import { present } from '../core/present.ts'
import { backoffMs, type Random } from '../core/random.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import { StatementBudget } from '../sharding/statement-budget.ts'
import { CaptureWatch, nextLookMs } from './capture-watch.ts'
import { Carrier } from './carrier.ts'
import { Difference } from './differences.ts'
import {
  type AttemptKind,
  attemptTime,
  endsAttempt,
  isBeforeCommit,
  isOver,
  isSettled,
  type MoveChange,
  type MoveChoice,
  type MoveNotes,
  type MoveRecord,
  type RemoteMoveRecords,
  type SeenMove,
  settleTime,
  withNotes,
} from './record.ts'
import {
  type BatchObserver,
  Interrupted,
  type Part,
  partOf,
  Refused,
  ShardSide,
  type SideReport,
  type SideState,
  Superseded,
  Unwritable,
} from './shard-side.ts'
import { type MoveSides, ownStates, readSides } from './sides.ts'

/** Named points of a move, one per step, at which tests pause or crash it. */
const pausePoints = [
  'raised',
  'prepared',
  'captured',
  'copied',
  'caught-up',
  'verified',
  'attempt',
  'fenced',
  'drained',
  'given-up',
  'un-fenced',
  'committed',
  'activated',
  'retired',
  'settling',
  'purged',
  'forgotten',
  'finished',
  'restored',
  'dropped',
  'capture-stopped',
] as const
export type PausePoint = (typeof pausePoints)[number]

export interface MoverOptions {
  records: RemoteMoveRecords
  /** The bound shards, by binding name. */
  shards: ReadonlyMap<string, ShardDatabase>
  clock: Clock
  random: Random
  log: Log
  /** Share of each database's time that a move may use: above 0, at most 1. */
  share: number
  /** False skips the comparison of all rows. For measurements only. */
  verifies?: boolean
  observer?: BatchObserver
  pause?: (point: PausePoint) => Promise<void>
}

/**
 * Moves slots between shards (docs/resharding.md). It keeps no state between turns. Each turn is a new incarnation,
 * which raises both shards' steps and derives the move's position from the directory and the shards.
 */
export class Mover {
  readonly #options: MoverOptions
  #failures = 0
  #incarnation: Incarnation | null = null
  #budget = new StatementBudget()
  /** The last reason that this object wrote to the record, and when (ms). */
  #noted: string | null = null
  #notedAt = Number.NEGATIVE_INFINITY

  constructor(options: MoverOptions) {
    this.#options = { ...options, records: answeringRecords(options.records) }
  }

  /** How many statements the latest turn sent. The platform allows `limits.invocationStatementsMax`. */
  get statementsSent(): number {
    return this.#budget.sent
  }

  /**
   * Does one alarm's work, in bounded pieces. Resolves to the time of the next turn (ms), or null if none is needed.
   * Never throws.
   */
  async turn(moveId: string): Promise<number | null> {
    const { clock, log, random } = this.#options
    try {
      // A turn that hangs may still continue later. The next incarnation raises the steps, as after a crash.
      const comeBackAt = await inTime(clock, limits.moveTurnMsMax, this.#work(moveId), () => this.#tooLong())
      this.#failures = 0
      if (this.#noted !== null) await this.#note(moveId, null)
      return comeBackAt
    } catch (error) {
      const isExpected = error instanceof Interrupted
      const fields = { move: moveId, reason: messageOf(error), failures: ++this.#failures }
      if (isExpected) log.info('move.interrupted', fields)
      else log.error('move.turn-failed', { ...fields, stack: (error as Error).stack })
      const capMs = this.#incarnation?.keepsWritersWaiting ? limits.moveFencedRetryCapMs : limits.moveRetryCapMs
      const comeBackAt = clock.now() + backoffMs(random, this.#failures, limits.moveRetryBaseMs, capMs)
      if (!(error instanceof Superseded)) await this.#note(moveId, fields.reason)
      return comeBackAt
    }
  }

  /** What each shard holds of the move, and the operator's safe choices. Only reads. Null if there is no such move. */
  async sides(moveId: string): Promise<MoveSides | null> {
    const record = await this.#options.records.find(moveId)
    return record && this.#sidesOf(record)
  }

  #sidesOf(record: MoveRecord): Promise<MoveSides> {
    const ms = limits.moveTargetPatienceMs
    const late = () => new Interrupted(`no answer within ${ms} ms`)
    return inTime(this.#options.clock, ms, readSides(record, this.#options.shards), late)
  }

  /**
   * Carries out an operator's choice for a stuck move. Resolves to false unless an incarnation that holds the lanes and
   * raised both steps finds the choice safe. The next turn does the work. Throws `Interrupted`.
   */
  async resolve(moveId: string, choice: MoveChoice): Promise<boolean> {
    const { records } = this.#options
    const found = await records.find(moveId)
    if (!found) return false
    const { choices } = await this.#sidesOf(found)
    if (!choices.includes(choice)) return false
    if (choice === 'retry' || choice === 'undo') return true
    const taken = await records.change(seen(found), { lanes: 'take' }, null)
    if (taken.outcome !== 'recorded')
      throw new Interrupted(
        'another move has a lane of these shards; abort the planned moves at these shards, or wait until they are done',
      )
    this.#budget = new StatementBudget()
    return new Incarnation(this.#options, taken.record, this.#budget).choose(choice)
  }

  #tooLong(): Error {
    return new Interrupted(
      `the turn took longer than ${limits.moveTurnMsMax} ms because a shard or the directory does not answer`,
    )
  }

  async #work(moveId: string): Promise<number | null> {
    const { records } = this.#options
    this.#budget = new StatementBudget()
    const found = await records.find(moveId)
    // Reset only after the directory has answered. Until then, the previous turn's state says whether writers wait.
    this.#incarnation = null
    if (!found) return null
    this.#noted = found.interrupted
    if (isOver(found)) return null
    const incarnation = new Incarnation(this.#options, found, this.#budget)
    const lookAt = await incarnation.watchCapture()
    // A settling move has no work before its grace period ends. `complete` wakes it early.
    if (found.state === 'settling' && settleTime(found) > this.#options.clock.now())
      return earliest(found.settlesAt, lookAt)
    // Take the lanes first. A move without lanes touches no shard.
    const entry = entryOf(found)
    if (entry) {
      const answer = await records.change(seen(found), entry, null)
      if (answer.outcome === 'changed') throw new Superseded('the record has changed')
      if (answer.outcome === 'waits') return earliest(answer.retryAt, lookAt, this.#stuckRetryAt(found))
    }
    this.#incarnation = incarnation
    const comeBackAt = await incarnation.run()
    return comeBackAt === null ? null : earliest(comeBackAt, lookAt)
  }

  #stuckRetryAt({ stuck }: MoveRecord): number | null {
    return stuck ? this.#options.clock.now() + limits.moveStuckRetryMs : null
  }

  /**
   * Records why the latest turn ended early, for operators. Nothing depends on the note, so it takes little time and
   * may fail.
   */
  async #note(moveId: string, interrupted: string | null): Promise<void> {
    const { records, clock, log } = this.#options
    const now = clock.now()
    if (interrupted === this.#noted || (interrupted !== null && now - this.#notedAt < limits.moveNoteMs)) return
    this.#notedAt = now
    this.#noted = interrupted
    const ms = this.#incarnation?.keepsWritersWaiting ? limits.moveFencedRetryCapMs : limits.moveTargetWaitMs
    const late = () => new Interrupted(`the directory: no answer within ${ms} ms`)
    try {
      await inTime(clock, ms, records.report(moveId, null, { interrupted }), late)
    } catch (error) {
      log.info('move.not-reported', { move: moveId, reason: messageOf(error) })
    }
  }
}

const earliest = (...times: (number | null)[]): number | null => {
  const known = times.filter((time) => time !== null)
  return known.length === 0 ? null : Math.min(...known)
}

/** Turns a failed or lost answer of the directory into `Interrupted`. The change may still be recorded. */
function answeringRecords(records: RemoteMoveRecords): RemoteMoveRecords {
  const ask = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await call
    } catch (error) {
      throw new Interrupted(`the directory: ${messageOf(error)}`, { cause: error })
    }
  }
  return {
    async find(id) {
      const record = await ask(records.find(id))
      return record && withNotes(record)
    },
    async change(...change) {
      const answer = await ask(records.change(...change))
      return answer.outcome === 'changed' ? answer : { ...answer, record: withNotes(answer.record) }
    },
    report: (...report) => records.report(...report),
  }
}

/** The change that a turn starts with in a state that waits. Purging and stuck moves hold no lanes between turns. */
function entryOf(record: MoveRecord): MoveChange | null {
  if (record.state === 'planned' && !record.ending) return { to: 'preparing' }
  if (record.state === 'settling') return { to: 'purging' }
  return record.hasLanes ? null : { lanes: 'take' }
}

class Incarnation {
  readonly #options: MoverOptions
  readonly #source: ShardSide
  readonly #target: ShardSide
  readonly #carrier: Carrier
  readonly #watch: CaptureWatch
  readonly #pace: Pace
  readonly #budget: StatementBudget
  readonly #endsAt: number
  #record: MoveRecord
  /** The state last requested. If the batch's outcome is unknown, it may still take effect at any moment. */
  #sourceState: SideState | 'unknown' = 'unknown'
  #targetState: SideState = 'none'
  /** Describes slots that this move must not touch, for operators. Null if there are none. */
  #alien: string | null = null
  /** The attempt that this incarnation recorded. Only with it may the incarnation fence or un-fence. */
  #ownAttempt = -1
  #fencedAt = 0
  /** The target has every change of the fenced source. */
  #isDrained = false
  #reportedAt = 0

  constructor(options: MoverOptions, record: MoveRecord, budget: StatementBudget) {
    this.#options = options
    this.#record = record
    this.#budget = budget
    this.#endsAt = options.clock.now() + limits.moveTurnMs
    const observer = options.observer ?? { before: async () => undefined }
    const { source, target } = record
    const databases = budget.meter(bound(options.shards, [source.binding, target.binding]))
    const atSource = present(databases.get(source.binding), 'the database of the source')
    const atTarget = present(databases.get(target.binding), 'the database of the target')
    this.#source = new ShardSide(source, atSource, record, observer, options.clock)
    this.#target = new ShardSide(target, atTarget, record, observer, options.clock)
    this.#watch = new CaptureWatch(record, atTarget, options.clock, observer)
    this.#pace = new Pace(options.clock, options.share)
    this.#carrier = new Carrier(this.#source, this.#target, record, this.#pace)
  }

  /** True if the source may be fenced. A failed turn is then retried at once. */
  get keepsWritersWaiting(): boolean {
    const { state, ending } = this.#record
    const mayBe = state === 'committed' || (this.#sourceState === 'unknown' && (state === 'cutover' || ending !== null))
    return mayBe || this.#sourceState === 'fenced'
  }

  /**
   * Bounds the changes that the target of a settled move captures. Resolves to the time of the next check (ms), or
   * null. It needs no lanes and raises no step, because another move may be active there.
   */
  async watchCapture(): Promise<number | null> {
    const { clock, records } = this.#options
    if (!isSettled(this.#record)) return null
    if (!this.#record.captureStopped) {
      const captured = await this.#watch.count()
      if (captured < limits.moveLogRowsMax) {
        if (captured !== this.#record.captured) await this.#tell({ captured })
        return clock.now() + nextLookMs(captured)
      }
      // Record the stop in the directory first, so that it refuses a later reverse, which would lack changes.
      const answer = await records.change(seen(this.#record), { capture: 'stop' }, null)
      if (answer.outcome !== 'recorded') throw new Superseded('the record has changed')
      this.#record = answer.record
      await this.#pause('capture-stopped')
    }
    // Repeated in each turn until the shard has nothing left, because the turn that recorded the stop may have crashed.
    while (!(await this.#pace.round(() => this.#watch.stop()))) if (this.#isSpent(STOP_STATEMENTS)) return clock.now()
    return null
  }

  /** Raises the steps, reads, checks, and only then acts. */
  async run(): Promise<number | null> {
    try {
      await this.#begin()
      this.#refuseMixtures()
    } catch (error) {
      await this.#fail(error)
      return this.#comeBackAt()
    }
    // A turn takes at least one step, however little time it has. It does not rest while writers wait.
    for (let steps = 0; ; steps++) {
      if (isOver(this.#record)) return null
      if (this.#record.state === 'settling')
        return Math.min(settleTime(this.#record), this.#options.clock.now() + limits.moveCaptureLookMs)
      if (steps > 0 && this.#isSpent(this.#statementsOfStep()) && this.#sourceState !== 'fenced') return this.#rest()
      try {
        await this.#step()
      } catch (error) {
        await this.#fail(error)
        if (this.#record.stuck !== null) return this.#comeBackAt()
      }
    }
  }

  async #begin(): Promise<void> {
    await this.#source.raise()
    await this.#patiently(this.#target.raise())
    await this.#pause('raised')
    await this.#derive()
  }

  /** Records an operator's choice if it is still safe. */
  async choose(choice: 'activate' | 'purge'): Promise<boolean> {
    const reason = this.#record.stuck
    await this.#begin()
    const part = await (choice === 'activate' ? this.#activatable() : this.#purgeable())
    if (part.slots > 0 && this.#alien !== null) {
      await this.#change({ choice, leftAlone: this.#alien })
      return true
    }
    await this.#change({ stuck: reason ?? `${choice} is not safe now` })
    return false
  }

  #comeBackAt(): number {
    const now = this.#options.clock.now()
    return this.#record.stuck === null ? now : now + limits.moveStuckRetryMs
  }

  /** Waits for a slow target, but releases the source's writers first. */
  async #patiently<T>(asked: Promise<T>): Promise<T> {
    if (!isBeforeCommit(this.#record)) return asked
    try {
      return await this.#inTime(asked, limits.moveTargetWaitMs)
    } catch (error) {
      await this.#releaseSource()
      if (this.keepsWritersWaiting) throw error
      return this.#inTime(asked, limits.moveTargetPatienceMs)
    }
  }

  /**
   * Looks after the source while the target does not answer, using the source's step alone. It gives up an attempt that
   * is over its budget, fails the move if too many changes wait, and restores the source of a move that is being
   * undone.
   */
  async #releaseSource(): Promise<void> {
    await this.#findAgain()
    const source = await this.#source.read()
    this.#sourceState = source.state
    this.#alien = alienSlots([[this.#source, source, ownStates(this.#record)[0]]])
    if (!isBeforeCommit(this.#record)) return
    const isFenced = this.#sourceState === 'fenced'
    try {
      this.#refuseMixtures()
      if (isFenced && !this.#record.ending && this.#isOverBudget(attemptTime(this.#record))) await this.#giveUp()
      if (this.#sourceState === 'moving' && !this.#record.ending) await this.#carrier.refuseLongTail()
    } catch (error) {
      await this.#fail(error)
    }
    if (this.#record.ending) await this.#restore()
  }

  async #findAgain(): Promise<void> {
    const record = await this.#options.records.find(this.#record.id)
    if (record?.reversals !== this.#record.reversals) throw new Interrupted('the move was reversed')
    this.#record = record
  }

  /** Throws `Interrupted` after `ms`. The batch may still arrive late, or never, as after a crash. */
  #inTime<T>(work: Promise<T>, ms: number): Promise<T> {
    return inTime(this.#options.clock, ms, work, () => new Interrupted(`no answer within ${ms} ms`))
  }

  /** Derives the move's position from the directory and both shards, now that no earlier incarnation can change it. */
  async #derive(): Promise<void> {
    await this.#findAgain()
    const source = await this.#source.read()
    this.#sourceState = source.state
    const target = await this.#patiently(this.#target.read())
    this.#targetState = target.state
    const [atSource, atTarget] = ownStates(this.#record)
    this.#alien = alienSlots([
      [this.#source, source, atSource],
      [this.#target, target, atTarget],
    ])
    // Only states before the commit need the cursors.
    const isCopied = this.#record.ending !== null || !isBeforeCommit(this.#record)
    this.#carrier.begin(source, isCopied ? { ...target, moveId: null } : target, this.#record.state)
  }

  /**
   * Before the commit, refuses slots in several states or of another move. After it, each batch names the slots it
   * needs.
   */
  #refuseMixtures(): void {
    if (this.#alien !== null && !this.#record.ending && isBeforeCommit(this.#record)) throw new Refused(this.#alien)
  }

  /** The table of steps in docs/resharding.md. Each step may be repeated until the record shows the next state. */
  async #step(): Promise<void> {
    if (this.#record.ending) return this.#undo()
    if (isBeforeCommit(this.#record)) this.#carrier.refuseDifferentSchemas(this.#record.state)
    switch (this.#record.state) {
      case 'preparing':
        return this.#prepare()
      case 'copying':
        return this.#copy()
      case 'catching-up':
        return this.#catchUp()
      case 'verifying':
        return this.#verify()
      case 'cutover':
        return this.#cutOver()
      case 'committed':
        return this.#handOver()
      case 'purging':
        return this.#purge()
      default:
        throw new Interrupted(`the state ${this.#record.state} has no step`)
    }
  }

  // 1. The target makes room. In a reverse, it keeps the rows it has.
  async #prepare(): Promise<void> {
    if (this.#record.reversals > 0) {
      await this.#target.batch('prepare', {
        slots: this.#target.become(['moved', 'importing'], 'importing'),
        cursors: await this.#carrier.firstCursors(),
      })
      await this.#pause('prepared')
      return this.#change({ to: 'catching-up' })
    }
    await this.#target.batch('prepare', { slots: this.#target.arrive(), cursors: await this.#carrier.firstCursors() })
    if (!(await this.#clear('clear'))) return
    await this.#pause('prepared')
    await this.#change({ to: 'copying' })
  }

  // 2. Capture starts here. Then the tables are copied one by one in key order.
  async #copy(): Promise<void> {
    if (this.#sourceState === 'active') {
      this.#sourceState = 'moving'
      await this.#source.batch('capture', { slots: this.#source.become(['active', 'moving'], 'moving') })
      await this.#pause('captured')
    }
    if (!(await this.#carrier.copyChunk())) return this.#report()
    await this.#pause('copied')
    await this.#change({ to: 'catching-up' })
  }

  // 3. Carries the tail of captured changes until one batch holds it all.
  async #catchUp(): Promise<void> {
    if (!(await this.#carrier.catchUp())) return
    await this.#pause('caught-up')
    if (this.#options.verifies ?? true) await this.#change({ to: 'verifying' })
    else await this.#recordAttempt('fence')
  }

  // 4. Compares every row at both sides, chunk by chunk, and then the row counts.
  async #verify(): Promise<void> {
    if (!(await this.#carrier.verifyChunk())) return this.#report()
    await this.#pause('verified')
    await this.#recordAttempt('fence')
  }

  // 5. Fences the source, carries the last tail, and lets the directory decide.
  async #cutOver(): Promise<void> {
    const isFenced = this.#sourceState === 'fenced'
    if (isFenced && this.#isOverBudget(attemptTime(this.#record))) return this.#giveUp()
    if (!isFenced) {
      if (!(await this.#repeat(() => this.#carrier.catchUp(), this.#statementsOfStep()))) return
      // Fence only with enough statements left to commit or un-fence.
      if (!this.#hasStatements(this.#statementsOfStep())) return
      // Another incarnation's attempt may be old, and its budget spent. It never reached the fence, so record a new
      // one.
      if (this.#record.attempt !== this.#ownAttempt) await this.#recordAttempt('fence')
      this.#fencedAt = this.#options.clock.now()
      this.#sourceState = 'fenced'
      this.#isDrained = await this.#inBudget(this.#fencedAt, this.#carrier.fence())
      await this.#pause('fenced')
    }
    const startedAt = this.#fencedAt || attemptTime(this.#record)
    const { roundStatements } = this.#carrier
    while (!this.#isDrained && !this.#isOverBudget(startedAt) && this.#hasStatements(roundStatements))
      this.#isDrained = await this.#inBudget(startedAt, this.#carrier.drain())
    await this.#pause('drained')
    if (!this.#isDrained || this.#isOverBudget(startedAt)) return this.#giveUp()
    await this.#change({ to: 'committed', bookmark: this.#target.bookmark })
    await this.#pause('committed')
  }

  #inBudget<T>(startedAt: number, work: Promise<T>): Promise<T> {
    return this.#inTime(work, startedAt + limits.moveCutoverBudgetMs - this.#options.clock.now())
  }

  #isOverBudget(startedAt: number): boolean {
    return this.#options.clock.now() - startedAt > limits.moveCutoverBudgetMs
  }

  // Record the attempt first. An un-fence unknown to the directory could land after another incarnation's commit.
  async #giveUp(): Promise<void> {
    await this.#recordAttempt('un-fence')
    await this.#pause('given-up')
    await this.#source.batch('un-fence', { slots: this.#source.become(['fenced', 'moving'], 'moving') })
    this.#sourceState = 'moving'
    this.#ownAttempt = -1
    this.#fencedAt = 0
    this.#isDrained = false
    await this.#pause('un-fenced')
    const { clock, random } = this.#options
    await clock.sleep(backoffMs(random, this.#record.attempt, limits.moveRetryBaseMs, limits.moveRetryCapMs))
  }

  async #recordAttempt(isFor: AttemptKind): Promise<void> {
    if (endsAttempt(this.#record) && this.#record.attemptsGivenUp + 1 >= limits.moveCutoverAttemptsMax)
      throw new Refused(`no cutover attempt finished within ${limits.moveCutoverBudgetMs} ms`)
    await this.#change({ to: 'cutover', isFor })
    this.#ownAttempt = this.#record.attempt
    await this.#pause('attempt')
  }

  // 7 and 8. The target takes writes and captures them for a reverse. The source keeps its rows for old leases.
  async #handOver(): Promise<void> {
    const { epoch } = this.#record
    const part = this.#record.leftAlone === null ? this.#source.whole : await this.#activatable()
    const slots = this.#target.become(['importing', 'moving'], 'moving', epoch, part)
    await this.#target.batch('activate', { slots })
    const cutoverMs = this.#fencedAt === 0 ? null : this.#options.clock.now() - this.#fencedAt
    await this.#pause('activated')
    await this.#source.batch('retire', {
      slots: this.#source.become(['fenced', 'moved'], 'moved', epoch, part),
      changes: this.#carrier.forgetChanges(),
    })
    this.#sourceState = 'moved'
    await this.#pause('retired')
    await this.#change({ to: 'settling', ...(cutoverMs === null ? {} : { cutoverMs }) })
    await this.#pause('settling')
  }

  /** Slots of a move stuck after its commit that both shards still hold as the commit left them. */
  async #activatable(): Promise<Part> {
    const atTarget = new Set(await this.#target.part(['importing', 'moving']))
    const atSource = await this.#source.part(['fenced', 'moved'])
    return partOf(atSource.filter((slot) => atTarget.has(slot)))
  }

  async #purgeable(): Promise<Part> {
    return partOf(await this.#source.part(['moved']))
  }

  // 10. The move can no longer be reversed, and no lease still names the source.
  async #purge(): Promise<void> {
    if (this.#sourceState !== 'none') {
      const part = this.#record.leftAlone === null ? this.#source.whole : await this.#purgeable()
      if (part.slots > 0 && !(await this.#carrier.purge('purge', this.#source, 'moved', part))) return
      await this.#pause('purged')
      await this.#source.batch('forget', { slots: this.#source.leave('moved') })
      this.#sourceState = 'none'
      await this.#pause('forgotten')
    }
    // Writes continued while the move settled, so one batch may not be enough to drop all captured changes.
    if (!(await this.#carrier.dropChanges('purge', this.#target))) return
    const slots =
      this.#record.leftAlone === null
        ? this.#target.become(['moving', 'active'], 'active')
        : this.#target.release(['moving'], 'active')
    await this.#target.batch('finish', { slots, changes: this.#carrier.forgetChanges() })
    await this.#pause('finished')
    await this.#change({ to: 'done' })
  }

  // Aborted or failed. The source returns to its state before the move. A reverse returns to settling; rows and
  // captures stay.
  async #undo(): Promise<void> {
    await this.#restore()
    if (this.#record.reversals > 0) {
      await this.#target.batch('drop', { slots: this.#target.release(['importing'], 'moved') })
      await this.#pause('dropped')
      return this.#change({ to: 'ended', leftAlone: this.#untouched() })
    }
    if (!(await this.#repeat(() => this.#carrier.dropChanges('drop', this.#source), STOP_STATEMENTS))) return
    // Rows and slots of no move, or of another one, are not this move's to delete.
    const part = this.#targetState === 'mixed' ? partOf(await this.#target.part(['importing'])) : this.#target.whole
    if (part.slots > 0 && (this.#targetState === 'importing' || this.#targetState === 'mixed')) {
      if (!(await this.#clear('drop', part))) return
      await this.#target.batch('drop', { slots: this.#target.leave('importing') })
    }
    await this.#pause('dropped')
    await this.#change({ to: 'ended', leftAlone: this.#untouched() })
  }

  #untouched(): string | null {
    return this.#alien && `Slots that are not the move's were left as they are: ${this.#alien}.`
  }

  /** Lets the source take writes again. The source of a reverse still captures them. */
  async #restore(): Promise<void> {
    const isReverse = this.#record.reversals > 0
    const as = isReverse ? 'moving' : 'active'
    if (this.#sourceState !== as) {
      const slots = this.#source.release(isReverse ? ['fenced'] : ['moving', 'fenced'], as)
      await this.#source.batch('restore', { slots })
    }
    this.#sourceState = as
    await this.#pause('restored')
  }

  /** Deletes rows of these slots at the target: leftovers, or rows of a move being undone. True if none is left. */
  #clear(operation: 'clear' | 'drop', part = this.#target.whole): Promise<boolean> {
    if (this.#targetState !== 'mixed') this.#targetState = 'importing'
    const { pieceStatements } = this.#carrier
    return this.#repeat(() => this.#carrier.purge(operation, this.#target, 'importing', part), pieceStatements)
  }

  /** Repeats a piece of work until it is finished (true), or until the turn's time or statements are spent (false). */
  async #repeat(piece: () => Promise<boolean>, statements: number): Promise<boolean> {
    while (!(await piece())) if (this.#isSpent(statements)) return false
    return true
  }

  // ── the record ────────────────────────────────────────────────────────────────────────────────

  async #change(change: MoveChange): Promise<void> {
    const answer = await this.#options.records.change(seen(this.#record), change, this.#carrier.progress)
    if (answer.outcome !== 'recorded') throw new Superseded(`the record has changed (${answer.outcome})`)
    this.#record = answer.record
  }

  /**
   * Before the commit, a difference between the shards or a refused batch fails the move. Later, an operator must
   * decide. A stuck move then gives up its lanes. That is safe because neither an undo nor the steps after the commit
   * need the cursors, and each batch names its own slots, step and from-states.
   */
  async #fail(error: unknown): Promise<void> {
    const isRefused = error instanceof Refused
    const { id, ending } = this.#record
    if (!ending && isBeforeCommit(this.#record)) {
      if (!isRefused && !(error instanceof Difference) && !(error instanceof Unwritable)) throw error
      this.#options.log.error('move.failed', { move: id, reason: error.message })
      return this.#change({ to: 'failed', error: error.message })
    }
    if (!isRefused) throw error
    const reason = this.#alien === null ? error.message : `${error.message}. ${this.#alien}`
    this.#options.log.error('move.stuck', { move: id, reason })
    await this.#change({ stuck: reason })
  }

  async #report(): Promise<void> {
    const now = this.#options.clock.now()
    if (now - this.#reportedAt < limits.moveReportMs) return
    this.#reportedAt = now
    await this.#tell()
  }

  async #tell(notes?: MoveNotes): Promise<void> {
    try {
      await this.#options.records.report(this.#record.id, notes ? null : this.#carrier.progress, notes)
    } catch (error) {
      // Nothing depends on the report, and a directory of the previous version may not have the method.
      this.#options.log.info('move.not-reported', { move: this.#record.id, reason: messageOf(error) })
    }
  }

  /** Ends the turn; the next one starts at once. A purge gives up its lanes in between. */
  async #rest(): Promise<number> {
    const { state, ending } = this.#record
    if (state === 'purging') await this.#change({ lanes: 'leave' })
    if (!ending && (state === 'verifying' || state === 'cutover')) await this.#carrier.keepPlace()
    return this.#options.clock.now()
  }

  /** True if the turn's time is up, or if fewer statements are left than the next piece of work may send. */
  #isSpent(statements: number): boolean {
    return this.#options.clock.now() >= this.#endsAt || !this.#hasStatements(statements)
  }

  #hasStatements(statements: number): boolean {
    return this.#budget.left >= statements + limits.moveStatementsKept
  }

  /** How many statements the next step may send before it checks again. A cutover fences, then drains once more. */
  #statementsOfStep(): number {
    const { roundStatements, pieceStatements } = this.#carrier
    return this.#record.state === 'cutover' ? 2 * roundStatements : Math.max(roundStatements, pieceStatements)
  }

  #pause(point: PausePoint): Promise<void> {
    return this.#options.pause?.(point) ?? Promise.resolve()
  }
}

/** How many statements it takes to delete one piece of captured changes, or to stop the capture. */
const STOP_STATEMENTS = 3

/** The shards with these bindings. Throws `Interrupted` if a binding is missing, because a deployment can add it. */
function bound(shards: MoverOptions['shards'], bindings: string[]): Map<string, ShardDatabase> {
  const found = bindings.map((binding) => {
    const database = shards.get(binding)
    if (!database)
      throw new Interrupted(`this version of the Worker has no binding ${binding}; deploy a version that has it`)
    return [binding, database] as const
  })
  return new Map(found)
}

/** Describes slots at the shards that are not the move's: in a state its slots cannot have, or of another move. */
function alienSlots(sides: [ShardSide, SideReport, SideState[]][]): string | null {
  const alien = sides.filter(([, { state }, own]) => state === 'mixed' || !own.includes(state))
  return alien.length === 0 ? null : alien.map(([side, { found }]) => side.describe(found)).join('; ')
}

const seen = ({ id, state, attempt, reversals, ending, hasLanes }: MoveRecord): SeenMove => ({
  id,
  state,
  attempt,
  reversals,
  ending,
  hasLanes,
})
