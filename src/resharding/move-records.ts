import type { Clock } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import type { Directory } from '../sharding/directory.ts'
import type { DirectoryStorage } from '../sharding/directory-storage.ts'
import { copySeconds } from '../sharding/map-holder.ts'
import type { ShardEntry } from '../sharding/shard-map.ts'
import { HeldSlots } from './held-slots.ts'
import { Lanes } from './lanes.ts'
import { type LaneUse, MoveTable } from './move-table.ts'
import {
  attemptTime,
  commitTime,
  endsAttempt,
  isBeforeCommit,
  isOver,
  isSettled,
  type MoveAnswer,
  type MoveChange,
  type MoveNotes,
  type MoveProgress,
  type MoveRecord,
  type MoveState,
  type SeenMove,
  type SlotRange,
  settleTime,
  slotNumber,
} from './record.ts'

export interface MoveRecordsOptions {
  storage: DirectoryStorage
  directory: Directory
  clock: Clock
  leaseMs: number
  graceMs: number
  /** Called after a transaction that lets moves start, with the ids of the moves to wake. The call may be lost. */
  onRunnable?: (ids: string[]) => void
}

/** The states that a mover may set from each state. Operators and undoing a move cause all other transitions. */
export const moverTransitions: Partial<Record<MoveState, MoveState[]>> = {
  planned: ['preparing'],
  preparing: ['copying', 'catching-up'],
  copying: ['catching-up'],
  'catching-up': ['verifying', 'cutover'],
  verifying: ['cutover'],
  cutover: ['cutover', 'committed'],
  committed: ['settling'],
  settling: ['purging'],
  purging: ['done'],
}

/**
 * The directory's records of moves: one row per move in the directory's own storage, so that the commit changes the map
 * and the record in one transaction. Every change is a compare-and-set. Only this class assigns lanes.
 */
export class MoveRecords {
  readonly #options: MoveRecordsOptions
  readonly #table: MoveTable
  readonly #queue: Lanes
  /** When (ms) each open move's mover last changed or reported something to this object. In memory only. */
  readonly #heard = new Map<string, number>()
  /** When (ms) the cron last woke each open move, by its number. In memory only. */
  readonly #woken = new Map<number, number>()
  #depth = 0

  constructor(options: MoveRecordsOptions) {
    this.#options = options
    const table = new MoveTable(options.storage)
    this.#table = table
    this.#queue = new Lanes({ table, clock: options.clock, leasesEnd: (move) => this.#leasesOfTargetEnd(move) })
  }

  find(id: string): MoveRecord | null {
    return this.#table.find(id)
  }

  /** Newest first. `before` is the id of the previous page's last move. */
  list(page: { limit: number; before: string | null }): MoveRecord[] {
    return this.#table.list(page)
  }

  /** All open moves, oldest first. For display. There may be thousands. */
  open(): MoveRecord[] {
    return this.#table.open()
  }

  firstOpen(): MoveRecord | null {
    return this.#table.firstOpen()
  }

  /** The oldest open move at the shard, or null. */
  firstOpenAt(shard: string): MoveRecord | null {
    return this.#table.openAt(shard, { limit: 1 })[0] ?? null
  }

  /** The open moves at the shard, oldest first. */
  openAt(shard: string, page: { lanes: readonly LaneUse[]; limit?: number }): MoveRecord[] {
    return this.#table.openAt(shard, page)
  }

  byNumber(number: number): MoveRecord {
    return this.#table.get(number)
  }

  /** Adds a planned move and returns its number. Call it in a transaction. */
  add(record: MoveRecord): number {
    const number = this.#table.insert(record)
    this.#queue.added(number, record)
    return number
  }

  heldSlots(): HeldSlots {
    return new HeldSlots(this.#table)
  }

  /** Lets other calls use the object between two pieces of an operation. */
  pause(): Promise<void> {
    return this.#options.clock.sleep(0)
  }

  /**
   * Returns at most `limit` moves that may be asleep although they have work: moves that wait while both their lanes
   * are free, and moves with lanes whose mover has been silent for a while. The cron wakes them, so a lost wake-up
   * costs at most a minute. Moves that wait for a reason are not included.
   */
  movesToWake(limit: number): string[] {
    const now = this.#options.clock.now()
    const isUnheard = (id: string, ms: number = limits.moveUnheardMs) => {
      const heardMsAgo = now - (this.#heard.get(id) ?? Number.NEGATIVE_INFINITY)
      return heardMsAgo < 0 || heardMsAgo >= ms
    }
    const lastWoken = ({ number }: { number: number }) => this.#woken.get(number) ?? 0
    const waiting = this.#queue.overlooked(lastWoken).flatMap(({ number, lane }) => {
      const move = this.#table.get(number)
      const hasAlarm = lane === 'planned' && this.#leasesOfTargetEnd(move) > now
      return hasAlarm && !isUnheard(move.id) ? [] : [{ number, id: move.id }]
    })
    // A stuck move retries by itself, but rarely.
    const silenceMs = { held: limits.moveUnheardMs, none: limits.moveStuckRetryMs + limits.moveUnheardMs }
    const silent = this.#table.working().filter(({ id, lane }) => isUnheard(id, silenceMs[lane]))
    // The moves woken longest ago come first, so that moves that never answer do not starve the others.
    const asleep = [...waiting, ...silent].sort((a, b) => lastWoken(a) - lastWoken(b)).slice(0, limit)
    for (const { number } of asleep) this.#woken.set(number, now)
    return asleep.map(({ id }) => id)
  }

  /**
   * Aborts the `planned` moves from or to a shard; `why` becomes their error. Works in pieces with pauses in between.
   * `last` runs in one transaction with the last piece. Call it while no other plan runs.
   */
  async abortPlanned<T>(role: 'source' | 'target', shard: string, why: string, last: () => T): Promise<T> {
    const piece = () => {
      const moves = this.#table.plannedAt(role, shard, limits.movesRecordedAtOnce)
      for (const move of moves) this.#write({ ...move, state: 'aborted', error: why })
      return moves.length
    }
    for (;;) {
      const done = this.transaction(() => (piece() < limits.movesRecordedAtOnce ? { answer: last() } : null))
      if (done) return done.answer
      await this.pause()
    }
  }

  /** Runs `body` in one transaction of the directory's storage, then announces the moves that it lets start. */
  transaction<T>(body: () => T): T {
    const isOutermost = this.#depth === 0
    this.#depth++
    try {
      const result = this.#options.storage.transaction(body)
      if (isOutermost) this.#tellRunnable()
      return result
    } finally {
      this.#depth--
      if (isOutermost) this.#queue.forget()
    }
  }

  #tellRunnable(): void {
    const ids = this.#queue.choose()
    if (ids.length > 0) this.#options.onRunnable?.(ids)
  }

  /** A mover's compare-and-set. The progress is stored with it. */
  change(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): MoveAnswer {
    return this.transaction(() => {
      const found = this.find(seen.id)
      if (found && !isOver(found)) this.#heard.set(seen.id, this.#options.clock.now())
      if (!found || !isAsSeen(found, seen)) return { outcome: 'changed' }
      const record = { ...found, ...progress }
      if ('lanes' in change) return this.#lanes(record, change.lanes)
      if ('capture' in change) return this.#stopCapture(record)
      if ('stuck' in change) return this.#leaveStuck(record, change.stuck)
      if ('choice' in change) return this.#choose(record, change)
      if (change.to === 'ended') return this.#end(record, change.leftAlone ?? null)
      if (change.to === 'failed') return this.#undo(record, 'failed', change.error)
      if (record.ending || !moverTransitions[record.state]?.includes(change.to)) return { outcome: 'changed' }
      return this.#advance(record, change)
    })
  }

  report(id: string, progress: MoveProgress | null, notes: MoveNotes = {}): void {
    const record = this.find(id)
    if (!record) return
    if (!isOver(record)) this.#heard.set(id, this.#options.clock.now())
    this.#write({ ...record, ...progress, ...notes })
  }

  /** Undoes a move before its commit. A reverse returns to settling. Throws NOT_FOUND, MOVE_STATE. */
  abort(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (!isBeforeCommit(record) || record.ending)
        throw notNow(
          record,
          'aborted',
          record.state === 'settling' ? 'It can be reversed.' : 'Only a move that has not committed can be aborted.',
        )
      return this.#undo(record, 'aborted', null).record
    })
  }

  /**
   * Reverses a settling move, keeping the writes that the target has taken since. Throws NOT_FOUND, MOVE_STATE,
   * SHARD_IN_MOVE.
   */
  reverse(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (record.state !== 'settling') throw notNow(record, 'reversed', whyNotReversible(record))
      if (record.captureStopped) throw notNow(record, 'reversed', CAPTURE_STOPPED)
      this.#refuseWithoutLanes(record)
      return this.#write({
        ...record,
        state: 'preparing',
        hasLanes: true,
        attemptsGivenUp: 0,
        reversals: record.reversals + 1,
        reversed: !record.reversed,
        source: record.target,
        target: record.source,
        rowsCopied: 0,
        rowsVerified: 0,
        captured: 0,
        error: null,
      })
    })
  }

  /** Ends the settling as soon as the last lease that names the source has expired. Throws NOT_FOUND, MOVE_STATE. */
  complete(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (record.state !== 'settling') throw notNow(record, 'completed', 'Only a settling move can be completed.')
      const leasesEnd = commitTime(record) + longestLeaseMs(this.#options.leaseMs)
      return this.#write({ ...record, settlesAt: Math.min(settleTime(record), leasesEnd) })
    })
  }

  // ── what a change needs ───────────────────────────────────────────────────────────────────────

  #advance(record: MoveRecord, change: Extract<MoveChange, { to: MoveState }>): MoveAnswer {
    const now = this.#options.clock.now()
    switch (change.to) {
      case 'preparing': {
        const target = this.#entry(record.target.id)
        if (target.state === 'serving')
          return this.#takeLanes({ ...record, state: 'preparing' }, () => this.#leasesOfTargetEnd(record))
        // The mover retries at once and finds the move ended. Without lanes it has touched no shard.
        const ended = this.#write({ ...record, state: 'aborted', error: takesNone(target) })
        return { outcome: 'waits', record: ended, retryAt: now }
      }
      case 'cutover':
        return this.#recorded({
          ...record,
          state: 'cutover',
          attempt: record.attempt + 1,
          attemptAt: now,
          attemptIsFor: ('isFor' in change ? change.isFor : undefined) ?? 'fence',
          attemptsGivenUp: record.attemptsGivenUp + (endsAttempt(record) ? 1 : 0),
        })
      case 'committed': {
        const epoch = this.#options.directory.reassign(
          record.keyspace,
          record.ranges.map(([first, last]) => [slotNumber(first), slotNumber(last)]),
          record.target.id,
          'bookmark' in change ? change.bookmark : null,
        )
        return this.#recorded({ ...record, state: 'committed', epoch, committedAt: now })
      }
      case 'settling': {
        const cutoverMs = ('cutoverMs' in change ? change.cutoverMs : null) ?? now - attemptTime(record)
        const settlesAt = commitTime(record) + this.#graceMs
        return this.#recorded({ ...record, state: 'settling', hasLanes: false, stuck: null, cutoverMs, settlesAt })
      }
      case 'purging':
        if (settleTime(record) > now) return { outcome: 'waits', record, retryAt: settleTime(record) }
        return this.#takeLanes({ ...record, state: 'purging' })
      case 'done':
        return this.#recorded({ ...record, state: 'done', hasLanes: false, stuck: null })
      default:
        return this.#recorded({ ...record, state: change.to })
    }
  }

  /** A `planned` move ends at once, because nothing was done for it. The mover undoes any other move first. */
  #undo(record: MoveRecord, ending: 'aborted' | 'failed', error: string | null): { outcome: 'recorded' } & MoveAnswer {
    if (record.state === 'planned') return this.#recorded({ ...record, state: ending, error })
    return this.#recorded({ ...record, ending, error })
  }

  #end(record: MoveRecord, leftAlone: string | null): MoveAnswer {
    if (!record.ending) return { outcome: 'changed' }
    const error = [record.error, leftAlone].filter((text) => text !== null).join(' ') || null
    const ended = { ...record, ending: null, hasLanes: false, stuck: null, error }
    if (record.reversals === 0) return this.#recorded({ ...ended, state: record.ending })
    const { source, target, reversals, reversed } = record
    const back = { reversals: reversals + 1, reversed: !reversed, source: target, target: source }
    // The grace period restarts. Otherwise the purge could follow a long reverse at once.
    const settlesAt = this.#options.clock.now() + this.#graceMs
    return this.#recorded({ ...ended, ...back, state: 'settling', settlesAt })
  }

  /** The directory records this first, because a reverse after the target stopped would lack changes. */
  #stopCapture(record: MoveRecord): MoveAnswer {
    if (!isSettled(record)) return { outcome: 'changed' }
    return this.#recorded({ ...record, captureStopped: true, captured: 0 })
  }

  /** Called by the incarnation that has the lanes and found the choice safe. */
  #choose(record: MoveRecord, { choice, leftAlone }: Extract<MoveChange, { choice: unknown }>): MoveAnswer {
    const state = choice === 'activate' ? 'committed' : 'purging'
    if (record.state !== state || record.ending || !record.hasLanes) return { outcome: 'changed' }
    return this.#recorded({ ...record, leftAlone, stuck: null })
  }

  /** Called by the incarnation that has the lanes. A move without lanes cannot have been refused. */
  #leaveStuck(record: MoveRecord, reason: string): MoveAnswer {
    if (!record.hasLanes) return { outcome: 'changed' }
    return this.#recorded({ ...record, stuck: reason, hasLanes: false })
  }

  #lanes(record: MoveRecord, verb: 'take' | 'leave'): MoveAnswer {
    // A purge that gives up its lanes after a turn was not refused. If it was stuck, it now waits for lanes like any
    // other.
    return verb === 'take' ? this.#takeLanes(record) : this.#recorded({ ...record, hasLanes: false, stuck: null })
  }

  /** `waitsUntil` (ms) is called once the lanes are free. A move that must wait for lanes is woken then. */
  #takeLanes(record: MoveRecord, waitsUntil = () => 0): MoveAnswer {
    const asks = present(this.find(record.id), `the move ${record.id}`)
    if (!this.#queue.areFreeFor(asks)) return { outcome: 'waits', record: asks, retryAt: null }
    const retryAt = waitsUntil()
    if (retryAt > this.#options.clock.now()) return { outcome: 'waits', record: asks, retryAt }
    this.#queue.took(record)
    return this.#recorded({ ...record, hasLanes: true })
  }

  /** How long a source keeps its rows: the configured time, or the last lease that names it if that is longer. */
  get #graceMs(): number {
    return Math.max(this.#options.graceMs, longestLeaseMs(this.#options.leaseMs))
  }

  /** When the last lease expires under which these slots may still be read at the target, from before it lost them. */
  #leasesOfTargetEnd({ id, keyspace, ranges, target }: MoveRecord): number {
    const leaseMs = longestLeaseMs(this.#options.leaseMs)
    const since = this.#options.clock.now() - leaseMs
    return this.#table
      .leftSince(target.id, since)
      .filter((other) => other.id !== id && other.keyspace === keyspace && overlaps(other.ranges, ranges))
      .reduce((end, other) => Math.max(end, commitTime(other) + leaseMs), 0)
  }

  /** A reverse does not queue. Planned moves take the lanes as soon as they are free. */
  #refuseWithoutLanes({ source, target }: MoveRecord): void {
    const shards = [source.id, target.id]
    const held = shards.map((shard) => this.#table.laneHolder(shard)).find((row) => row !== null)
    if (!held) return
    const holder = this.#table.get(held.number)
    const waiting = this.#table.countPlanned(shards)
    const first =
      waiting === 0
        ? 'Wait until it is done.'
        : `Planned moves at these shards come first (${waiting}). Wait for them, or abort them.`
    throw new BanyanError(
      'SHARD_IN_MOVE',
      `Move ${holder.id} (${holder.state}) uses ${source.id} or ${target.id}, and a shard takes part in one move at a time. ${first}`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  // ── rows ──────────────────────────────────────────────────────────────────────────────────────

  #byOperator(id: string, change: (record: MoveRecord) => MoveRecord): MoveRecord {
    return this.transaction(() => {
      const record = this.find(id)
      if (!record) throw new BanyanError('NOT_FOUND', `There is no move "${id}". See: npm run banyan -- moves list`)
      // The mover does not know of the change, and the wake-up may be lost. In that case the next cron wakes it.
      this.#heard.delete(id)
      return change(record)
    })
  }

  #recorded(record: MoveRecord): { outcome: 'recorded'; record: MoveRecord; retryAt: number } {
    return { outcome: 'recorded', record: this.#write(record), retryAt: 0 }
  }

  #write(record: MoveRecord): MoveRecord {
    const { number, before, after } = this.#table.update(record)
    if (after === null) {
      this.#heard.delete(record.id)
      this.#woken.delete(number)
    }
    // A planned move that ends may have been chosen for lanes that it never took.
    if ((before === 'held' && after !== 'held') || (before !== null && after === null)) this.#queue.freed(record)
    return record
  }

  #entry(id: string): ShardEntry {
    return this.#options.directory.getShard(id)
  }
}

/**
 * How long after a commit an isolate may still read with the previous map. If its clock is behind, a copy from the data
 * centre's cache gets a whole lease from the time of the request, however old it is.
 */
const longestLeaseMs = (leaseMs: number): number => leaseMs + copySeconds(leaseMs) * 1_000 + limits.moveLeaseMarginMs

const CAPTURE_STOPPED = `Its target stopped capturing after ${limits.moveLogRowsMax.toLocaleString('en')} changes. Complete it, then move the slots back with a new move.`

const isAsSeen = (record: MoveRecord, seen: SeenMove): boolean =>
  record.state === seen.state &&
  record.attempt === seen.attempt &&
  record.reversals === seen.reversals &&
  record.ending === seen.ending &&
  record.hasLanes === seen.hasLanes

const overlaps = (left: SlotRange[], right: SlotRange[]): boolean =>
  left.some(([first, last]) => right.some((other) => first <= other[1] && other[0] <= last))

/** How an operator makes a shard serve again that is read-only or being restored. */
export const makeServing = ({ id, state }: Pick<ShardEntry, 'id' | 'state'>): string =>
  state === 'read-only'
    ? `Make it writable first: npm run banyan -- shards read-only ${id} --off`
    : 'Wait until its restore has finished.'

export const takesNone = ({ id, state }: Pick<ShardEntry, 'id' | 'state'>): string =>
  `${id} is ${state}, so it takes no slots.`

const whyNotReversible = ({ state, source }: MoveRecord): string =>
  state === 'purging' || state === 'done'
    ? `Its settling has ended. To move the slots back, start a move to ${source}: npm run banyan -- help moves start`
    : 'A move can be reversed while it is settling.'

const notNow = ({ id, state, ending }: MoveRecord, done: 'aborted' | 'reversed' | 'completed', why: string) =>
  new BanyanError('MOVE_STATE', `Move ${id} is ${ending ? 'being undone' : state}, so it can’t be ${done}. ${why}`)
