import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { backoffMs, type Random } from '../core/random.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import { Carrier } from './carrier.ts'
import { Difference } from './differences.ts'
import { Pace } from './pace.ts'
import {
  type AttemptKind,
  endsAttempt,
  isBeforeCommit,
  isOver,
  type MoveBook,
  type MoveChange,
  type MoveRecord,
  type SeenMove,
} from './record.ts'
import { type BatchObserver, Interrupted, Refused, ShardSide, type SlotState } from './shard-side.ts'

/** Named places of a move, one a step, where tests hold and crash it. */
export const pausePoints = [
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
] as const
export type PausePoint = (typeof pausePoints)[number]

export interface MoverOptions {
  book: MoveBook
  /** The bound shards, by binding name. */
  shards: ReadonlyMap<string, ShardDatabase>
  clock: Clock
  random: Random
  log: Log
  /** Of each database's time, above 0 and up to 1. */
  share: number
  /** False leaves the comparison of all rows out: for measurements only. */
  verifies?: boolean
  observer?: BatchObserver
  pause?: (point: PausePoint) => Promise<void>
}

/**
 * Moves slots from shard to shard (docs/resharding.md). It keeps nothing between turns: each turn is an incarnation of
 * its own, which raises both shards' steps and derives where the move is from what the directory and the shards say.
 */
export class Mover {
  readonly #options: MoverOptions
  #failures = 0
  #incarnation: Incarnation | null = null

  constructor(options: MoverOptions) {
    this.#options = { ...options, book: answeringBook(options.book) }
  }

  /** One alarm's work, in bounded pieces. Resolves to when to come back (ms), or to null: never. Never throws. */
  async turn(moveId: string): Promise<number | null> {
    const { clock, log, random } = this.#options
    try {
      const comeBackAt = await this.#work(moveId)
      this.#failures = 0
      return comeBackAt
    } catch (error) {
      const isExpected = error instanceof Interrupted
      const fields = { move: moveId, reason: messageOf(error), failures: ++this.#failures }
      if (isExpected) log.info('move.interrupted', fields)
      else log.error('move.stumbled', { ...fields, stack: (error as Error).stack })
      const capMs = this.#incarnation?.keepsWritersWaiting ? limits.moveFencedRetryCapMs : limits.moveRetryCapMs
      return clock.now() + backoffMs(random, this.#failures, limits.moveRetryBaseMs, capMs)
    }
  }

  async #work(moveId: string): Promise<number | null> {
    const found = await this.#options.book.find(moveId)
    this.#incarnation = null
    if (!found || isOver(found)) return null
    // Lanes first: until it has them, a move touches no shard.
    const entry = entryOf(found)
    if (entry) {
      const answer = await this.#options.book.change(found, entry, null)
      if (answer.outcome === 'changed') throw new Interrupted('the record has changed')
      if (answer.outcome === 'waits') return answer.retryAt
    }
    this.#incarnation = new Incarnation(this.#options, found)
    return this.#incarnation.run()
  }
}

/** A directory that doesn't answer, or whose answer is lost, interrupts: it may have recorded what it was asked to. */
function answeringBook(book: MoveBook): MoveBook {
  const ask = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await call
    } catch (error) {
      throw new Interrupted(`the directory: ${messageOf(error)}`, { cause: error })
    }
  }
  return {
    find: (id) => ask(book.find(id)),
    change: (...change) => ask(book.change(...change)),
    report: (...progress) => book.report(...progress),
  }
}

/** How a turn begins in states that wait for something. */
function entryOf(record: MoveRecord): MoveChange | null {
  if (record.ending) return null
  if (record.state === 'planned') return { to: 'preparing' }
  if (record.state === 'settling') return { to: 'purging' }
  if (record.state === 'purging' && !record.hasLanes) return { lanes: 'take' }
  return null
}

class Incarnation {
  readonly #options: MoverOptions
  readonly #source: ShardSide
  readonly #target: ShardSide
  readonly #carrier: Carrier
  readonly #endsAt: number
  #record: MoveRecord
  /** What was asked of it last: if that isn't there yet, it may be at any moment. */
  #sourceState: SlotState | 'none' | 'unknown' = 'unknown'
  #targetState: SlotState | 'none' = 'none'
  /** The attempt that this incarnation recorded: only then may it fence, or un-fence. */
  #ownAttempt = -1
  #fencedAt = 0
  /** Nothing is left at the fenced source that the target hasn't got. */
  #isDrained = false
  #reportedAt = 0

  constructor(options: MoverOptions, record: MoveRecord) {
    this.#options = options
    this.#record = record
    this.#endsAt = options.clock.now() + limits.moveTurnMs
    const observer = options.observer ?? { before: async () => undefined }
    const side = (shard: MoveRecord['source']) => {
      const database = options.shards.get(shard.binding)
      if (!database) throw new Error(`this version of the Worker has no binding ${shard.binding}`)
      return new ShardSide(shard, database, record, observer, options.clock)
    }
    this.#source = side(record.source)
    this.#target = side(record.target)
    this.#carrier = new Carrier(this.#source, this.#target, record, new Pace(options.clock, options.share))
  }

  /** True where the source may be fenced: a turn that fails is followed by the next at once. */
  get keepsWritersWaiting(): boolean {
    const { state, ending } = this.#record
    const mayBe = state === 'committed' || (this.#sourceState === 'unknown' && (state === 'cutover' || ending !== null))
    return mayBe || this.#sourceState === 'fenced'
  }

  /** Raise, read, check, and only then act. */
  async run(): Promise<number | null> {
    await this.#source.raise()
    await this.#patiently(this.#target.raise())
    await this.#pause('raised')
    await this.#derive()
    // However short its time, a turn gets one step further; and nobody rests while writers wait.
    for (let steps = 0; ; steps++) {
      if (isOver(this.#record)) return null
      if (this.#record.state === 'settling') return this.#record.settlesAt
      if (steps > 0 && this.#isTimeUp() && this.#sourceState !== 'fenced') return this.#rest()
      try {
        await this.#step()
      } catch (error) {
        await this.#fail(error)
      }
    }
  }

  /** A target that is slow is waited for, but not by the source's users. */
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
   * The target doesn't answer. Until it does the source is looked after with its own step alone: an attempt that is over
   * its budget is given up, changes that pile up fail the move, and the source of a move that is to be undone is restored.
   */
  async #releaseSource(): Promise<void> {
    await this.#findAgain()
    this.#sourceState = (await this.#source.read()).state
    if (!isBeforeCommit(this.#record)) return
    const isFenced = this.#sourceState === 'fenced'
    try {
      if (isFenced && !this.#record.ending && this.#isOverBudget(this.#record.attemptAt!)) await this.#giveUp()
      if (this.#sourceState === 'moving' && !this.#record.ending) await this.#carrier.refuseLongTail()
    } catch (error) {
      await this.#fail(error)
    }
    if (this.#record.ending) await this.#restore()
  }

  async #findAgain(): Promise<void> {
    const record = await this.#options.book.find(this.#record.id)
    if (record?.reversals !== this.#record.reversals) throw new Interrupted('the move was turned round')
    this.#record = record
  }

  /** Throws Interrupted after so long: what was sent then arrives late, or never, as after a crash. */
  #inTime<T>(work: Promise<T>, ms: number): Promise<T> {
    return inTime(this.#options.clock, ms, work, () => new Interrupted(`no answer within ${ms} ms`))
  }

  /** Where the move is, by what the directory and both shards say now that no earlier incarnation can change it. */
  async #derive(): Promise<void> {
    await this.#findAgain()
    const source = await this.#source.read()
    this.#sourceState = source.state
    const target = await this.#patiently(this.#target.read())
    this.#targetState = target.state
    this.#carrier.begin(source, target, this.#record.state)
  }

  /** The table of steps (docs/resharding.md): each may be repeated until the record says that the next is reached. */
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
        throw new Interrupted(`nothing is to be done while ${this.#record.state}`)
    }
  }

  // 1. The target makes room. A reverse finds its rows there, and keeps them.
  async #prepare(): Promise<void> {
    if (this.#record.reversals > 0) {
      await this.#target.batch('prepare', [
        ...this.#target.become(['moved', 'importing'], 'importing'),
        await this.#carrier.firstCursors(),
      ])
      await this.#pause('prepared')
      return this.#change({ to: 'catching-up' })
    }
    await this.#target.batch('prepare', [...this.#target.arrive(), await this.#carrier.firstCursors()])
    if (!(await this.#clear('clear'))) return
    await this.#pause('prepared')
    await this.#change({ to: 'copying' })
  }

  // 2. Every change is captured from here on; then table by table in key order.
  async #copy(): Promise<void> {
    if (this.#sourceState === 'active') {
      this.#sourceState = 'moving'
      await this.#source.batch('capture', this.#source.become(['active', 'moving'], 'moving'))
      await this.#pause('captured')
    }
    if (!(await this.#carrier.copyStretch())) return this.#report()
    await this.#pause('copied')
    await this.#change({ to: 'catching-up' })
  }

  // 3. The tail of captured changes, until one batch holds it.
  async #catchUp(): Promise<void> {
    if (!(await this.#carrier.catchUp())) return
    await this.#pause('caught-up')
    if (this.#options.verifies ?? true) await this.#change({ to: 'verifying' })
    else await this.#recordAttempt('fence')
  }

  // 4. Every row at both sides, stretch by stretch, and at last how many there are.
  async #verify(): Promise<void> {
    if (!(await this.#carrier.verifyStretch())) return this.#report()
    await this.#pause('verified')
    await this.#recordAttempt('fence')
  }

  // 5. No writes from the fence on; the last tail; then the directory decides.
  async #cutOver(): Promise<void> {
    const isFenced = this.#sourceState === 'fenced'
    if (isFenced && this.#isOverBudget(this.#record.attemptAt!)) return this.#giveUp()
    if (!isFenced) {
      if (!(await this.#repeat(() => this.#carrier.catchUp()))) return
      // An attempt that another incarnation recorded may be an old one: its budget would have begun then. It never came to a fence.
      if (this.#record.attempt !== this.#ownAttempt) await this.#recordAttempt('fence')
      this.#fencedAt = this.#options.clock.now()
      this.#sourceState = 'fenced'
      this.#isDrained = await this.#inBudget(this.#fencedAt, this.#carrier.fence())
      await this.#pause('fenced')
    }
    const startedAt = this.#fencedAt || this.#record.attemptAt!
    while (!this.#isDrained && !this.#isOverBudget(startedAt))
      this.#isDrained = await this.#inBudget(startedAt, this.#carrier.drain())
    await this.#pause('drained')
    if (this.#isOverBudget(startedAt)) return this.#giveUp()
    await this.#change({ to: 'committed', bookmark: this.#target.bookmark })
    await this.#pause('committed')
  }

  #inBudget<T>(startedAt: number, work: Promise<T>): Promise<T> {
    return this.#inTime(work, startedAt + limits.moveCutoverBudgetMs - this.#options.clock.now())
  }

  #isOverBudget(startedAt: number): boolean {
    return this.#options.clock.now() - startedAt > limits.moveCutoverBudgetMs
  }

  // The directory knows first: an un-fence that it didn't know of could land after another incarnation's commit.
  async #giveUp(): Promise<void> {
    await this.#recordAttempt('un-fence')
    await this.#pause('given-up')
    await this.#source.batch('un-fence', this.#source.become(['fenced', 'moving'], 'moving'))
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
      throw new Refused(`none of the attempts to cut over was done within ${limits.moveCutoverBudgetMs} ms`)
    await this.#change({ to: 'cutover', isFor })
    this.#ownAttempt = this.#record.attempt
    await this.#pause('attempt')
  }

  // 7 and 8. The target takes writes, and captures them for a reverse; the source keeps its rows for old leases.
  async #handOver(): Promise<void> {
    const { epoch } = this.#record
    await this.#target.batch('activate', this.#target.become(['importing', 'moving'], 'moving', epoch))
    const cutoverMs = this.#fencedAt === 0 ? null : this.#options.clock.now() - this.#fencedAt
    await this.#pause('activated')
    await this.#source.batch('retire', [
      ...this.#source.become(['fenced', 'moved'], 'moved', epoch),
      this.#carrier.forgetChanges(),
    ])
    this.#sourceState = 'moved'
    await this.#pause('retired')
    await this.#change({ to: 'settling', ...(cutoverMs === null ? {} : { cutoverMs }) })
    await this.#pause('settling')
  }

  // 10. Nobody can come back, and no lease names the source any more.
  async #purge(): Promise<void> {
    if (this.#sourceState !== 'none') {
      if (!(await this.#carrier.purge('purge', this.#source, 'moved'))) return
      await this.#pause('purged')
      await this.#source.batch('forget', this.#source.leave('moved'))
      this.#sourceState = 'none'
      await this.#pause('forgotten')
    }
    // Writers went on while it settled: what was captured of them may be more than one batch should drop.
    if (!(await this.#carrier.dropChanges('purge', this.#target))) return
    await this.#target.batch('finish', [
      ...this.#target.become(['moving', 'active'], 'active'),
      this.#carrier.forgetChanges(),
    ])
    await this.#pause('finished')
    await this.#change({ to: 'done' })
  }

  // Aborted or failed: the source is as it was. A reverse goes back to settling, and rows and captures stay.
  async #undo(): Promise<void> {
    await this.#restore()
    if (this.#record.reversals > 0) {
      await this.#target.batch('drop', this.#target.become(['importing', 'moved'], 'moved'))
      await this.#pause('dropped')
      return this.#change({ to: 'ended' })
    }
    if (!(await this.#repeat(() => this.#carrier.dropChanges('drop', this.#source)))) return
    if (this.#targetState !== 'none') {
      if (!(await this.#clear('drop'))) return
      await this.#target.batch('drop', this.#target.leave('importing'))
    }
    await this.#pause('dropped')
    await this.#change({ to: 'ended' })
  }

  /** The source takes writes as before; of a reverse, it goes on capturing them. */
  async #restore(): Promise<void> {
    const as = this.#record.reversals > 0 ? 'moving' : 'active'
    if (this.#sourceState !== as) await this.#source.batch('restore', this.#source.become(['moving', 'fenced'], as))
    this.#sourceState = as
    await this.#pause('restored')
  }

  /** Rows of these slots at the target: left behind by nobody knows whom, or to be undone. True when none is left. */
  #clear(operation: 'clear' | 'drop'): Promise<boolean> {
    this.#targetState = 'importing'
    return this.#repeat(() => this.#carrier.purge(operation, this.#target, 'importing'))
  }

  /** One piece after another, until there is none left (true) or the turn's time is up. */
  async #repeat(piece: () => Promise<boolean>): Promise<boolean> {
    while (!(await piece())) if (this.#isTimeUp()) return false
    return true
  }

  // ── the record ────────────────────────────────────────────────────────────────────────────────

  async #change(change: MoveChange): Promise<void> {
    const answer = await this.#options.book.change(seen(this.#record), change, this.#carrier.progress)
    if (answer.outcome !== 'recorded') throw new Interrupted(`the record has changed (${answer.outcome})`)
    this.#record = answer.record
  }

  /** A difference between the shards, or a batch that can't be applied, fails the move while that is possible. */
  async #fail(error: unknown): Promise<void> {
    const isFatal = error instanceof Difference || error instanceof Refused
    if (!isFatal || this.#record.ending || !isBeforeCommit(this.#record)) throw error
    this.#options.log.error('move.failed', { move: this.#record.id, reason: error.message })
    await this.#change({ to: 'failed', error: error.message })
  }

  async #report(): Promise<void> {
    const now = this.#options.clock.now()
    if (now - this.#reportedAt < limits.moveReportMs) return
    this.#reportedAt = now
    try {
      await this.#options.book.report(this.#record.id, this.#carrier.progress)
    } catch (error) {
      // Nothing depends on it; and a directory of the version before may not know the call.
      this.#options.log.info('move.not-reported', { move: this.#record.id, reason: messageOf(error) })
    }
  }

  /** The turn is over; another goes on at once. A purge lets others have the lanes in between. */
  async #rest(): Promise<number> {
    const { state, ending } = this.#record
    if (state === 'purging') await this.#change({ lanes: 'leave' })
    if (!ending && (state === 'verifying' || state === 'cutover')) await this.#carrier.keepPlace()
    return this.#options.clock.now()
  }

  #isTimeUp(): boolean {
    return this.#options.clock.now() >= this.#endsAt
  }

  #pause(point: PausePoint): Promise<void> {
    return this.#options.pause?.(point) ?? Promise.resolve()
  }
}

const seen = ({ id, state, attempt, reversals, ending, hasLanes }: MoveRecord): SeenMove => ({
  id,
  state,
  attempt,
  reversals,
  ending,
  hasLanes,
})
