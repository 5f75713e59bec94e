import { eachAtMost } from '../core/bounded.ts'
import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, MIGRATE } from '../core/errors.ts'
import { slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { Serial } from '../core/serial.ts'
import type { Directory, DirectoryStorage } from '../sharding/directory.ts'
import { copySeconds } from '../sharding/map-holder.ts'
import { type ShardEntry, SLOT_COUNT } from '../sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../sharding/sharded-table.ts'
import { HeldSlots } from './held-slots.ts'
import { noParts, type Once, type Parts, unkept } from './kept-answers.ts'
import { Lanes } from './lanes.ts'
import { MoveTable } from './move-table.ts'
import {
  countSlots,
  endsAttempt,
  formatRanges,
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
  slotNumber,
} from './record.ts'
import { arrivalOf, bytesOfSlots, refuseLackOfRoom } from './room.ts'

/** What planning wants to know of a shard. One statement answers both. */
export interface ShardFacts {
  /** Which migrations it has: two shards with equal texts have equal schemas. */
  schema: string
  /** How large its database is; null where the platform does not say. */
  bytes: number | null
}

export interface MoveLedgerOptions {
  storage: DirectoryStorage
  directory: Directory
  clock: Clock
  leaseMs: number
  graceMs: number
  newId: () => string
  shardFacts: (shard: ShardEntry) => Promise<ShardFacts>
  /** The newest migration that this version of the Worker knows. */
  newestMigration: string
  /** How large a shard's database may become; `limits.shardBytesMax` where it is not set. */
  shardBytesMax?: number
  /** Called after a transaction that lets moves start, with their ids: their movers are to be woken. It may get lost. */
  onRunnable?: (ids: string[]) => void
}

export interface MoveWish {
  keyspace: Keyspace
  ranges: SlotRange[]
  target: string
}

/** A move that a plan wants, of slots that its source has. */
export interface MoveWishFrom extends MoveWish {
  source: string
}

/** One whose shards have been asked: its schemas are equal, and its target has room. */
export interface CheckedWish extends MoveWishFrom {
  bytesEstimated?: number | null
}

/** What each state may become by its mover. All else is an operator's, or the undoing of a move. */
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
 * The directory's book of moves: one row a move, in the directory's own storage, so that the commit changes the map and
 * the record in one transaction. Every change is a compare-and-set; lanes are given out here and nowhere else.
 */
export class MoveLedger {
  readonly #options: MoveLedgerOptions
  readonly #table: MoveTable
  readonly #queue: Lanes
  readonly #planning = new Serial()
  /** When (ms) each open move's mover last changed or reported something: what this object has heard of, in memory. */
  readonly #heard = new Map<string, number>()
  /** When (ms) the cron last woke each open move, by its number: in memory. */
  readonly #woken = new Map<number, number>()
  #depth = 0

  constructor(options: MoveLedgerOptions) {
    this.#options = options
    const table = new MoveTable(options.storage)
    this.#table = table
    this.#queue = new Lanes({ table, clock: options.clock, leasesEnd: (move) => this.#leasesOfTargetEnd(move) })
  }

  find(id: string): MoveRecord | null {
    return this.#table.find(id)
  }

  /** Newest first. `before` is the id of the last one of the page before. */
  list(page: { limit: number; before: string | null }): MoveRecord[] {
    return this.#table.list(page)
  }

  /** All moves that a mover has work for, or will have, oldest first: to look at. There may be thousands. */
  open(): MoveRecord[] {
    return this.#table.open()
  }

  firstOpen(): MoveRecord | null {
    return this.#table.firstOpen()
  }

  /** The oldest open move at the shard, if there is one. */
  firstOpenAt(shard: string): MoveRecord | null {
    return this.#table.openAt(shard, { limit: 1 })[0] ?? null
  }

  heldSlots(): HeldSlots {
    return new HeldSlots(this.#table)
  }

  /** Runs operations that plan moves, or change what plans depend on, one after another. They may wait in the middle. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#planning.run(work)
  }

  /** Lets others use the object between two pieces of an operation. */
  pause(): Promise<void> {
    return this.#options.clock.sleep(0)
  }

  /**
   * The moves that may be asleep though they have something to do, at most `limit`: those that wait while both their lanes
   * are free, and those with lanes that were not heard of for a while. The cron wakes them, so that a wake-up that was lost
   * costs at most a minute. Moves that wait for a reason are not among them.
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
    // One that is stuck retries by itself, and seldom.
    const silenceMs = { held: limits.moveUnheardMs, none: limits.moveStuckRetryMs + limits.moveUnheardMs }
    const silent = this.#table.working().filter(({ id, lane }) => isUnheard(id, silenceMs[lane]))
    // Those that were woken longest ago first, so that some that never answer keep no other from its turn.
    const asleep = [...waiting, ...silent].sort((a, b) => lastWoken(a) - lastWoken(b)).slice(0, limit)
    for (const { number } of asleep) this.#woken.set(number, now)
    return asleep.map(({ id }) => id)
  }

  /**
   * Plans one move a source; slots that the target has already are left out, so there may be none. Throws NOT_FOUND for
   * an unknown target, SLOTS_IN_MOVE, SHARD_IN_MOVE, SHARD_NOT_SERVING, SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM.
   */
  async plan(wish: MoveWish, once: Once<MoveRecord[]> = unkept, parts: Parts = noParts): Promise<MoveRecord[]> {
    const target = this.#shard(wish.target)
    if (!target) throw new BanyanError('NOT_FOUND', `There is no shard "${wish.target}". See: banyan shards list`)
    return this.inTurn(async () => {
      const begun = this.recordedOf(parts)
      const wishes = this.#wishesOf(wish, target, begun)
      const checked = await this.check(wishes)
      const held = this.heldSlots()
      for (const [index, each] of checked.entries()) {
        this.#refuse(each, held)
        this.#refuseBusy(each, begun)
        if ((index + 1) % limits.movesRecordedAtOnce === 0) await this.pause()
      }
      return this.record(checked, parts, (moves) => this.transaction(() => once(moves)))
    })
  }

  /**
   * Records planned moves, in pieces with pauses in between, so that thousands of them do not block the object. `last` is
   * called in place of a transaction with the last piece. It records that piece, and resolves to all moves of the request,
   * including those that an interrupted attempt recorded. Call it in turn, with moves of slots that no other move holds.
   */
  async record<T>(wishes: CheckedWish[], parts: Parts, last: (record: () => MoveRecord[]) => T): Promise<T> {
    const moves = this.recordedOf(parts)
    const held = this.heldSlots()
    const size = limits.movesRecordedAtOnce
    let index = 0
    for (; wishes.length - index > size; index += size) {
      const recorded = this.transaction(() => {
        const piece = this.enqueue(wishes.slice(index, index + size), held)
        parts.add(piece.map(({ id }) => id))
        return piece
      })
      moves.push(...recorded)
      await this.pause()
    }
    return last(() => [...moves, ...this.enqueue(wishes.slice(index), held)])
  }

  /** What an earlier attempt of the same request has recorded. */
  recordedOf(parts: Parts): MoveRecord[] {
    return parts.moves().map((id) => this.find(id)!)
  }

  /**
   * Records all moves that are `planned`, in one transaction. They may meet at a shard: each waits until the lanes of both
   * its shards are free. Throws SLOTS_IN_MOVE, SHARD_NOT_SERVING.
   */
  enqueue(planned: CheckedWish[], held = this.heldSlots()): MoveRecord[] {
    return this.transaction(() =>
      planned.map((wish) => {
        const { keyspace, source, target, ranges, bytesEstimated = null } = wish
        this.#refuse(wish, held)
        const record = { ...this.#draft(keyspace, this.#entry(source), this.#entry(target), ranges), bytesEstimated }
        const number = this.#table.insert(record)
        held.add(number, keyspace, ranges)
        this.#queue.added(number, record)
        return record
      }),
    )
  }

  /**
   * Ends the moves from or to a shard that are still `planned`; `why` is their error. In pieces with pauses in between;
   * `last` runs in one transaction with the last piece. To be called in turn.
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

  /** Runs `body` in one transaction of the directory's storage, and then tells which moves can start by it. */
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

  /**
   * Asks each shard of these moves once, a few at a time. Throws SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM,
   * SHARD_UNAVAILABLE. Resolves to the wishes, with how many bytes each brings to its target at most.
   */
  async check(wishes: MoveWishFrom[]): Promise<CheckedWish[]> {
    const shards = new Map(
      wishes.flatMap(({ source, target }) => [source, target]).map((id) => [id, this.#entry(id)] as const),
    )
    const facts = await this.#facts([...shards.values()])
    for (const { source, target } of wishes) this.#refuseSchemas(source, target, facts)
    const counts = new Map(keyspaces.map((keyspace) => [keyspace, this.#options.directory.slotCounts(keyspace)]))
    const checked = wishes.map((wish): CheckedWish => {
      const slotsThere = counts.get(wish.keyspace)!.get(wish.source) ?? 0
      const bytesEstimated = bytesOfSlots(facts.get(wish.source)!.bytes, countSlots(wish.ranges), slotsThere)
      return { ...wish, bytesEstimated }
    })
    await this.#refuseFull(checked, facts)
    return checked
  }

  /** Throws SCHEMA_VERSIONS_DIFFER where a newcomer's schema isn't the first shard's. */
  async refuseOtherSchema(newcomer: ShardEntry): Promise<void> {
    const [source] = this.#options.directory.shardEntries()
    this.#refuseSchemas(source!.id, newcomer.id, await this.#facts([source!, newcomer]))
  }

  /** A mover's compare-and-set. Its progress is kept with it. */
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

  /** Undoes a move whose map hasn't changed; a reverse goes back to settling. Throws NOT_FOUND, MOVE_STATE. */
  abort(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (!isBeforeCommit(record) || record.ending)
        throw notNow(
          record,
          'abort',
          record.state === 'settling' ? 'It can be reversed.' : 'Only a move that has not committed can.',
        )
      return this.#undo(record, 'aborted', null).record
    })
  }

  /** Takes a settling move back, with the writes that the target has taken since. Throws NOT_FOUND, MOVE_STATE, SHARD_IN_MOVE. */
  reverse(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (record.state !== 'settling') throw notNow(record, 'reverse', 'A move can be reversed while it is settling.')
      if (record.captureStopped) throw notNow(record, 'reverse', CAPTURE_STOPPED)
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

  /** Ends the settling as soon as the last lease that names the source has run out. Throws NOT_FOUND, MOVE_STATE. */
  complete(id: string): MoveRecord {
    return this.#byOperator(id, (record) => {
      if (record.state !== 'settling') throw notNow(record, 'complete', 'Only a settling move can be completed.')
      const leasesEnd = record.committedAt! + longestLeaseMs(this.#options.leaseMs)
      return this.#write({ ...record, settlesAt: Math.min(record.settlesAt!, leasesEnd) })
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
        // Its mover comes back at once and finds it over: without the lanes it touches no shard.
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
        const cutoverMs = ('cutoverMs' in change ? change.cutoverMs : null) ?? now - record.attemptAt!
        const settlesAt = record.committedAt! + this.#graceMs
        return this.#recorded({ ...record, state: 'settling', hasLanes: false, stuck: null, cutoverMs, settlesAt })
      }
      case 'purging':
        if (record.settlesAt! > now) return { outcome: 'waits', record, retryAt: record.settlesAt! }
        return this.#takeLanes({ ...record, state: 'purging' })
      case 'done':
        return this.#recorded({ ...record, state: 'done', hasLanes: false, stuck: null })
      default:
        return this.#recorded({ ...record, state: change.to })
    }
  }

  /** A move that nothing was done for ends at once; any other is undone by its mover first. */
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
    // The settling begins anew: a reverse that took long would else be followed by the purge at once.
    const settlesAt = this.#options.clock.now() + this.#graceMs
    return this.#recorded({ ...ended, ...back, state: 'settling', settlesAt })
  }

  /** The directory knows first: a reverse after the target had stopped would lack changes. */
  #stopCapture(record: MoveRecord): MoveAnswer {
    if (!isSettled(record)) return { outcome: 'changed' }
    return this.#recorded({ ...record, captureStopped: true, captured: 0 })
  }

  /** Called by the incarnation that has the lanes and found that the choice is safe. */
  #choose(record: MoveRecord, { choice, leftAlone }: Extract<MoveChange, { choice: unknown }>): MoveAnswer {
    const state = choice === 'activate' ? 'committed' : 'purging'
    if (record.state !== state || record.ending || !record.hasLanes) return { outcome: 'changed' }
    return this.#recorded({ ...record, leftAlone, stuck: null })
  }

  /** By the incarnation that has the lanes: a move that has left them was not refused. */
  #leaveStuck(record: MoveRecord, reason: string): MoveAnswer {
    if (!record.hasLanes) return { outcome: 'changed' }
    return this.#recorded({ ...record, stuck: reason, hasLanes: false })
  }

  #lanes(record: MoveRecord, wish: 'take' | 'leave'): MoveAnswer {
    // Who leaves them after a turn was not refused: a purge that was stuck waits for lanes as others do again.
    return wish === 'take' ? this.#takeLanes(record) : this.#recorded({ ...record, hasLanes: false, stuck: null })
  }

  /** `waitsUntil` (ms) is asked once the lanes are free. A move that has to wait for lanes is woken when they are. */
  #takeLanes(record: MoveRecord, waitsUntil = () => 0): MoveAnswer {
    const asks = this.find(record.id)!
    if (!this.#queue.areFreeFor(asks)) return { outcome: 'waits', record: asks, retryAt: null }
    const retryAt = waitsUntil()
    if (retryAt > this.#options.clock.now()) return { outcome: 'waits', record: asks, retryAt }
    this.#queue.took(record)
    return this.#recorded({ ...record, hasLanes: true })
  }

  /** How long a source keeps its rows: as set, and never less than the leases that name it. */
  get #graceMs(): number {
    return Math.max(this.#options.graceMs, longestLeaseMs(this.#options.leaseMs))
  }

  /** When the last lease runs out under which somebody may read these slots at the target, from before it lost them. */
  #leasesOfTargetEnd({ id, keyspace, ranges, target }: MoveRecord): number {
    const leaseMs = longestLeaseMs(this.#options.leaseMs)
    const since = this.#options.clock.now() - leaseMs
    return this.#table
      .leftSince(target.id, since)
      .filter((other) => other.id !== id && other.keyspace === keyspace && overlaps(other.ranges, ranges))
      .reduce((end, other) => Math.max(end, other.committedAt! + leaseMs), 0)
  }

  // ── planning ──────────────────────────────────────────────────────────────────────────────────

  /** One move for each source; of those that an earlier attempt of the request recorded, none again. */
  #wishesOf(wish: MoveWish, target: ShardEntry, begun: MoveRecord[]): MoveWishFrom[] {
    return [...this.#sources(wish, target)]
      .filter(([{ id }]) => !begun.some(({ source }) => source.id === id))
      .map(([{ id }, ranges]) => ({ keyspace: wish.keyspace, source: id, target: target.id, ranges }))
  }

  /** The wished slots by the shard that owns them now. */
  #sources({ keyspace, ranges }: MoveWish, target: ShardEntry): Map<ShardEntry, SlotRange[]> {
    const { directory } = this.#options
    const shards = directory.shardEntries()
    const runs = directory.runs(keyspace)
    const sources = new Map<ShardEntry, SlotRange[]>()
    for (const [first, last] of ranges)
      runs.forEach(([start, ordinal], index) => {
        const owner = shards[ordinal!]!
        const from = Math.max(start!, slotNumber(first))
        const to = Math.min((runs[index + 1]?.[0] ?? SLOT_COUNT) - 1, slotNumber(last))
        if (owner.id === target.id || from > to) return
        sources.set(owner, [...(sources.get(owner) ?? []), [slotText(from), slotText(to)]])
      })
    return sources
  }

  #draft(keyspace: Keyspace, source: ShardEntry, target: ShardEntry, ranges: SlotRange[]): MoveRecord {
    return {
      id: this.#options.newId(),
      keyspace,
      ranges,
      slots: countSlots(ranges),
      source: { id: source.id, binding: source.binding },
      target: { id: target.id, binding: target.binding },
      state: 'planned',
      attempt: 0,
      attemptIsFor: 'fence',
      attemptsGivenUp: 0,
      reversals: 0,
      reversed: false,
      ending: null,
      hasLanes: false,
      epoch: null,
      rowsTotal: 0,
      rowsCopied: 0,
      rowsVerified: 0,
      cutoverMs: null,
      bytesEstimated: null,
      error: null,
      createdAt: this.#options.clock.now(),
      attemptAt: null,
      committedAt: null,
      settlesAt: null,
      ...{ interrupted: null, stuck: null, leftAlone: null, captured: 0, captureStopped: false },
    }
  }

  async #facts(shards: ShardEntry[]): Promise<Map<string, ShardFacts>> {
    const { clock, shardFacts } = this.#options
    const facts = new Map<string, ShardFacts>()
    await eachAtMost(limits.shardsAtOnceMax, shards, async (shard) => {
      const late = () =>
        new BanyanError(
          'SHARD_UNAVAILABLE',
          `${shard.id} did not answer within ${limits.directoryShardMs} ms. Nothing was planned. Try again.`,
        )
      facts.set(shard.id, await inTime(clock, limits.directoryShardMs, shardFacts(shard), late))
    })
    return facts
  }

  #refuseSchemas(source: string, target: string, facts: Map<string, ShardFacts>): void {
    const expected = facts.get(target)!.schema
    const { schema } = facts.get(source)!
    refusePending(target, expected, this.#options.newestMigration)
    if (schema !== expected)
      throw new BanyanError(
        'SCHEMA_VERSIONS_DIFFER',
        `${source} is at ${schema}, and ${target} at ${expected}. Migrate all shards first: ${MIGRATE}`,
      )
  }

  async #refuseFull(wishes: CheckedWish[], facts: Map<string, ShardFacts>): Promise<void> {
    const { shardBytesMax = limits.shardBytesMax } = this.#options
    let looked = 0
    for (const [target, planned] of Map.groupBy(wishes, (wish) => wish.target)) {
      const open = this.#table.openAt(target, { lanes: ['held', 'planned'] })
      const arrivals = [
        ...open.flatMap((move) => arrivalOf(move, target) ?? []),
        ...planned.map(({ source, keyspace, bytesEstimated }) => ({ source, keyspace, bytes: bytesEstimated! })),
      ]
      refuseLackOfRoom(target, facts.get(target)!.bytes, arrivals, shardBytesMax)
      if (++looked % limits.movesRecordedAtOnce === 0) await this.pause()
    }
  }

  /** Throws SHARD_NOT_SERVING, SLOTS_IN_MOVE. */
  #refuse({ keyspace, source, target, ranges }: MoveWishFrom, held: HeldSlots): void {
    const entries = [this.#entry(source), this.#entry(target)] as const
    for (const shard of entries)
      if (shard.state === 'read-only' || shard.state === 'restoring')
        throw new BanyanError('SHARD_NOT_SERVING', `${shard.id} is ${shard.state}.`)
    if (entries[1].state !== 'serving') throw new BanyanError('SHARD_NOT_SERVING', takesNone(entries[1]))
    const number = held.holderOf(keyspace, ranges)
    if (number === null) return
    const holder = this.#table.get(number)
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Slots of ${formatRanges(ranges)} are in move ${holder.id} (${holder.state}). Wait until it is done${isBeforeCommit(holder) ? ', or abort it' : ''}.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  /** A single move that an operator asks for does not queue: the answer names the move that is in the way. */
  #refuseBusy({ source, target }: MoveWishFrom, begun: MoveRecord[]): void {
    const limit = begun.length + 1
    const busy = [source, target]
      .flatMap((shard) => this.#table.openAt(shard, { lanes: ['held', 'planned'], limit }))
      .find(({ id }) => !begun.some((own) => own.id === id))
    if (busy)
      throw new BanyanError('SHARD_IN_MOVE', `Move ${busy.id} (${busy.state}) is at ${source} or ${target}.`, {
        retryAfterSeconds: limits.moveRetryAfterSeconds,
      })
  }

  /** A reverse does not queue either. Planned moves take the lanes as soon as they are free. */
  #refuseWithoutLanes({ source, target }: MoveRecord): void {
    const shards = [source.id, target.id]
    const held = shards.map((shard) => this.#table.laneHolder(shard)).find((row) => row !== null)
    if (!held) return
    const holder = this.#table.get(held.number)
    const waiting = this.#table.countPlanned(shards)
    const first =
      waiting === 0 ? '' : ` Planned moves at these shards come first (${waiting}). Wait for them, or abort them.`
    throw new BanyanError(
      'SHARD_IN_MOVE',
      `Move ${holder.id} (${holder.state}) is at ${source.id} or ${target.id}.${first}`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  // ── rows ──────────────────────────────────────────────────────────────────────────────────────

  #byOperator(id: string, change: (record: MoveRecord) => MoveRecord): MoveRecord {
    return this.transaction(() => {
      const record = this.find(id)
      if (!record) throw new BanyanError('NOT_FOUND', `There is no move "${id}". See: banyan moves list`)
      // Its mover does not know yet, and the wake-up may be lost: then the next cron wakes it.
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

  #shard(id: string): ShardEntry | undefined {
    return this.#options.directory.findShard(id)
  }

  #entry(id: string): ShardEntry {
    return this.#shard(id)!
  }
}

/**
 * How long after a commit an isolate may still read by the map before it. Its clock may be behind: then a copy out of the
 * data centre's cache has a whole lease from the moment it was asked for, however old it is.
 */
const longestLeaseMs = (leaseMs: number): number => leaseMs + copySeconds(leaseMs) * 1_000 + limits.moveLeaseMarginMs

const CAPTURE_STOPPED = `Its target captured ${limits.moveLogRowsMax.toLocaleString('en')} changes and stopped. Complete it, then move the slots back with a new move.`

const isAsSeen = (record: MoveRecord, seen: SeenMove): boolean =>
  record.state === seen.state &&
  record.attempt === seen.attempt &&
  record.reversals === seen.reversals &&
  record.ending === seen.ending &&
  record.hasLanes === seen.hasLanes

const overlaps = (left: SlotRange[], right: SlotRange[]): boolean =>
  left.some(([first, last]) => right.some((other) => first <= other[1] && other[0] <= last))

/** One to come in the middle would fail the move. A shard that is ahead of the Worker lacks none: it was migrated first. */
function refusePending(id: string, version: string, newestMigration: string): void {
  if (version.split(', ').at(-1)! < newestMigration)
    throw new BanyanError(
      'SCHEMA_VERSIONS_DIFFER',
      `${id} is at ${version}, and ${newestMigration} is pending. Migrate all shards first: ${MIGRATE}`,
    )
}

export const takesNone = ({ id, state }: Pick<ShardEntry, 'id' | 'state'>): string =>
  `${id} is ${state}: it takes no slots.`

const notNow = ({ id, state, ending }: MoveRecord, verb: string, why: string) =>
  new BanyanError('MOVE_STATE', `Move ${id} is ${ending ? 'being undone' : state}, so it can't ${verb}. ${why}`)
