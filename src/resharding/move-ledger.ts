import { eachAtMost } from '../core/bounded.ts'
import type { Clock } from '../core/clock.ts'
import { BanyanError, MIGRATE } from '../core/errors.ts'
import { slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Directory, DirectoryStorage } from '../sharding/directory.ts'
import { copySeconds } from '../sharding/map-holder.ts'
import { type ShardEntry, SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { type Once, unkept } from './kept-answers.ts'
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
  withNotes,
} from './record.ts'

export interface MoveLedgerOptions {
  storage: DirectoryStorage
  directory: Directory
  clock: Clock
  leaseMs: number
  graceMs: number
  newId: () => string
  /** Which migrations a shard has: two shards with equal texts have equal schemas. */
  schemaVersion: (shard: ShardEntry) => Promise<string>
  /** The newest migration that this version of the Worker knows. */
  newestMigration: string
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

  constructor(options: MoveLedgerOptions) {
    this.#options = options
    options.storage.rows(
      `CREATE TABLE IF NOT EXISTS moves (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
       is_over INTEGER NOT NULL, record TEXT NOT NULL)`,
    )
    options.storage.rows('CREATE INDEX IF NOT EXISTS moves_open ON moves (number) WHERE is_over = 0')
    options.storage.rows(
      `CREATE INDEX IF NOT EXISTS moves_committed ON moves (${COMMITTED_AT}) WHERE ${COMMITTED_AT} IS NOT NULL`,
    )
  }

  find(id: string): MoveRecord | null {
    const row = this.#options.storage.rows<{ record: string }>('SELECT record FROM moves WHERE id = ?', id)[0]
    return row ? readRecord(row.record) : null
  }

  /** Newest first. `before` is the id of the last one of the page before. */
  list({ limit, before }: { limit: number; before: string | null }): MoveRecord[] {
    return this.#read(
      'number < coalesce((SELECT number FROM moves WHERE id = ?), 9e18) ORDER BY number DESC LIMIT ?',
      before,
      limit,
    )
  }

  /** The moves that a mover has work for, or will have, oldest first. */
  open(): MoveRecord[] {
    return this.#read('is_over = 0 ORDER BY number')
  }

  /**
   * Plans one move a source; slots that the target has already are left out, so there may be none. Throws NOT_FOUND for
   * an unknown target, SLOTS_IN_MOVE, SHARD_IN_MOVE, SHARD_NOT_SERVING, SCHEMA_VERSIONS_DIFFER.
   */
  async plan(wish: MoveWish, once: Once<MoveRecord[]> = unkept): Promise<MoveRecord[]> {
    const target = this.#shard(wish.target)
    if (!target) throw new BanyanError('NOT_FOUND', `There is no shard "${wish.target}". See: banyan shards list`)
    await this.#refuseDifferentSchemas([...this.#sources(wish, target).keys()].map((source) => ({ source, target })))
    const record = () => {
      const records = [...this.#sources(wish, target)].map(([source, ranges]) =>
        this.#draft(wish.keyspace, source, target, ranges),
      )
      const open = this.open()
      for (const record of records) {
        refuse(record, open, this.#entry(record.source.id), this.#entry(record.target.id))
        refuseBusy(record, open)
      }
      return records.map((record) => this.#insert(record))
    }
    return this.#options.storage.transaction(() => once(record))
  }

  /**
   * Records all moves that are `planned`, to be called in one transaction with planning them. They may meet at a shard:
   * each waits until the lanes of both its shards are free. Throws SLOTS_IN_MOVE, SHARD_NOT_SERVING.
   */
  enqueue(planned: MoveWishFrom[]): MoveRecord[] {
    const open = this.open()
    return planned.map(({ keyspace, source, target, ranges }) => {
      const [from, to] = [this.#entry(source), this.#entry(target)]
      const record = this.#draft(keyspace, from, to, ranges)
      refuse(record, open, from, to)
      return this.#insert(record)
    })
  }

  /** Ends those of the moves that are still `planned`; `why` is their error. To be called inside a transaction. */
  abortPlanned(isMeant: (move: MoveRecord) => boolean, why: string): void {
    for (const move of this.open())
      if (move.state === 'planned' && isMeant(move)) this.#write({ ...move, state: 'aborted', error: why })
  }

  /** Runs `body` in one transaction of the directory's storage. */
  transaction<T>(body: () => T): T {
    return this.#options.storage.transaction(body)
  }

  /** Throws SCHEMA_VERSIONS_DIFFER. */
  async refuseDifferentSchemas(wishes: MoveWishFrom[]): Promise<void> {
    await this.#refuseDifferentSchemas(
      wishes.map(({ source, target }) => ({ source: this.#entry(source), target: this.#entry(target) })),
    )
  }

  /** Throws SCHEMA_VERSIONS_DIFFER where a newcomer's schema isn't the first shard's. */
  async refuseOtherSchema(newcomer: ShardEntry): Promise<void> {
    const [source] = this.#options.directory.shardEntries()
    await this.#refuseDifferentSchemas([{ source: source!, target: newcomer }])
  }

  /** A mover's compare-and-set. Its progress is kept with it. */
  change(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): MoveAnswer {
    return this.#options.storage.transaction(() => {
      const found = this.find(seen.id)
      if (!found || !isAsSeen(found, seen)) return { outcome: 'changed' }
      const record = { ...found, ...progress }
      if ('lanes' in change) return this.#lanes(record, change.lanes)
      if ('capture' in change) return this.#stopCapture(record)
      if ('stuck' in change) return this.#recorded({ ...record, stuck: change.stuck, hasLanes: false })
      if ('choice' in change) return this.#choose(record, change)
      if (change.to === 'ended') return this.#end(record, change.leftAlone ?? null)
      if (change.to === 'failed') return this.#undo(record, 'failed', change.error)
      if (record.ending || !moverTransitions[record.state]?.includes(change.to)) return { outcome: 'changed' }
      return this.#advance(record, change)
    })
  }

  report(id: string, progress: MoveProgress | null, notes: MoveNotes = {}): void {
    const record = this.find(id)
    if (record) this.#write({ ...record, ...progress, ...notes })
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
      refuseWithoutLanes(record, this.open())
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

  /** Known here first: a reverse that came after the target had stopped would lack changes. */
  #stopCapture(record: MoveRecord): MoveAnswer {
    if (!isSettled(record)) return { outcome: 'changed' }
    return this.#recorded({ ...record, captureStopped: true, captured: 0 })
  }

  /** By the incarnation that has the lanes, and found that the choice is safe. */
  #choose(record: MoveRecord, { choice, leftAlone }: Extract<MoveChange, { choice: unknown }>): MoveAnswer {
    const state = choice === 'activate' ? 'committed' : 'purging'
    if (record.state !== state || record.ending || !record.hasLanes) return { outcome: 'changed' }
    return this.#recorded({ ...record, leftAlone, stuck: null })
  }

  #lanes(record: MoveRecord, wish: 'take' | 'leave'): MoveAnswer {
    return wish === 'take' ? this.#takeLanes(record) : this.#recorded({ ...record, hasLanes: false })
  }

  /** `waitsUntil` (ms) is asked once the lanes are free: most that ask wait for these. */
  #takeLanes(record: MoveRecord, waitsUntil = () => 0): MoveAnswer {
    const now = this.#options.clock.now()
    const open = this.open()
    const retryAt = lanesAreFree(record, open) ? waitsUntil() : now + laneRetryMs(record, open)
    if (retryAt > now) return { outcome: 'waits', record: this.find(record.id)!, retryAt }
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
    return this.#read(`${COMMITTED_AT} > ? AND id <> ?`, since, id)
      .filter((other) => other.keyspace === keyspace && other.source.id === target.id && overlaps(other.ranges, ranges))
      .reduce((end, other) => Math.max(end, other.committedAt! + leaseMs), 0)
  }

  // ── planning ──────────────────────────────────────────────────────────────────────────────────

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
      error: null,
      createdAt: this.#options.clock.now(),
      attemptAt: null,
      committedAt: null,
      settlesAt: null,
      ...{ interrupted: null, stuck: null, leftAlone: null, captured: 0, captureStopped: false },
    }
  }

  /** Each shard is asked once, however many of the moves are at it. */
  async #refuseDifferentSchemas(moves: { source: ShardEntry; target: ShardEntry }[]): Promise<void> {
    const shards = new Map(moves.flatMap(({ source, target }) => [source, target]).map((shard) => [shard.id, shard]))
    const versions = new Map<string, string>()
    await eachAtMost(limits.shardsAtOnceMax, [...shards.values()], async (shard) => {
      versions.set(shard.id, await this.#options.schemaVersion(shard))
    })
    for (const { source, target } of moves) {
      const expected = versions.get(target.id)!
      const version = versions.get(source.id)!
      refusePending(target, expected, this.#options.newestMigration)
      if (version !== expected)
        throw new BanyanError(
          'SCHEMA_VERSIONS_DIFFER',
          `${source.id} is at ${version}, and ${target.id} at ${expected}. Migrate all shards first: ${MIGRATE}`,
        )
    }
  }

  // ── rows ──────────────────────────────────────────────────────────────────────────────────────

  #byOperator(id: string, change: (record: MoveRecord) => MoveRecord): MoveRecord {
    return this.#options.storage.transaction(() => {
      const record = this.find(id)
      if (!record) throw new BanyanError('NOT_FOUND', `There is no move "${id}". See: banyan moves list`)
      return change(record)
    })
  }

  #insert(record: MoveRecord): MoveRecord {
    this.#options.storage.rows(
      'INSERT INTO moves (id, is_over, record) VALUES (?, 0, ?)',
      record.id,
      JSON.stringify(record),
    )
    return record
  }

  #recorded(record: MoveRecord): { outcome: 'recorded'; record: MoveRecord; retryAt: number } {
    return { outcome: 'recorded', record: this.#write(record), retryAt: 0 }
  }

  #write(record: MoveRecord): MoveRecord {
    this.#options.storage.rows(
      'UPDATE moves SET record = ?, is_over = ? WHERE id = ?',
      JSON.stringify(record),
      isOver(record) ? 1 : 0,
      record.id,
    )
    return record
  }

  #read(where: string, ...values: (string | number | null)[]): MoveRecord[] {
    return this.#options.storage
      .rows<{ record: string }>(`SELECT record FROM moves WHERE ${where}`, ...values)
      .map(({ record }) => readRecord(record))
  }

  #shard(id: string): ShardEntry | undefined {
    return this.#options.directory.shardEntries().find((shard) => shard.id === id)
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

/** A record from before 29 November 2026 counts no given-up attempts; one from before the 24th has its reversals as `turns`, or none. */
function readRecord(text: string): MoveRecord {
  const { turns, ...record } = JSON.parse(text) as MoveRecord & { turns?: number }
  const { reversals = turns ?? 0, attemptsGivenUp = 0, attemptIsFor = 'fence' } = record
  return withNotes({ ...record, reversals, attemptsGivenUp, attemptIsFor })
}

const CAPTURE_STOPPED = `Its target captured ${limits.moveLogRowsMax.toLocaleString('en')} changes and stopped. Complete it, then move the slots back with a new move.`

/** An index has it: of a long history only what committed just now is read. */
const COMMITTED_AT = "json_extract(record, '$.committedAt')"

const isAsSeen = (record: MoveRecord, seen: SeenMove): boolean =>
  record.state === seen.state &&
  record.attempt === seen.attempt &&
  record.reversals === seen.reversals &&
  record.ending === seen.ending &&
  record.hasLanes === seen.hasLanes

const overlaps = (left: SlotRange[], right: SlotRange[]): boolean =>
  left.some(([first, last]) => right.some((other) => first <= other[1] && other[0] <= last))

const shareShard = (left: MoveRecord, right: Pick<MoveRecord, 'source' | 'target'>): boolean =>
  [left.source.id, left.target.id].some((id) => id === right.source.id || id === right.target.id)

/** One to come in the middle would fail the move. A shard that is ahead of the Worker lacks none: it was migrated first. */
function refusePending({ id }: ShardEntry, version: string, newestMigration: string): void {
  if (version.split(', ').at(-1)! < newestMigration)
    throw new BanyanError(
      'SCHEMA_VERSIONS_DIFFER',
      `${id} is at ${version}, and ${newestMigration} is pending. Migrate all shards first: ${MIGRATE}`,
    )
}

const laneHolder = (record: MoveRecord, open: MoveRecord[]): MoveRecord | undefined =>
  open.find((other) => other.id !== record.id && other.hasLanes && shareShard(other, record))

const lanesAreFree = (record: MoveRecord, open: MoveRecord[]): boolean => !laneHolder(record, open)

/** Who is far behind others that have waited for a lane of the same shards since before asks more seldom. */
function laneRetryMs(record: MoveRecord, open: MoveRecord[]): number {
  const before = open.slice(
    0,
    open.findIndex(({ id }) => id === record.id),
  )
  const queued = before.filter((other) => other.state === 'planned' && shareShard(other, record)).length
  return limits.moveLaneRetryMs * (1 + Math.min(limits.moveLaneRetriesMax, queued))
}

export const takesNone = ({ id, state }: Pick<ShardEntry, 'id' | 'state'>): string =>
  `${id} is ${state}: it takes no slots.`

function refuse(record: MoveRecord, open: MoveRecord[], source: ShardEntry, target: ShardEntry): void {
  for (const shard of [source, target])
    if (shard.state === 'read-only' || shard.state === 'restoring')
      throw new BanyanError('SHARD_NOT_SERVING', `${shard.id} is ${shard.state}.`)
  if (target.state !== 'serving') throw new BanyanError('SHARD_NOT_SERVING', takesNone(target))
  const retryAfterSeconds = limits.moveRetryAfterSeconds
  const holder = open.find((other) => other.keyspace === record.keyspace && overlaps(other.ranges, record.ranges))
  if (holder)
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Slots of ${formatRanges(record.ranges)} are in move ${holder.id} (${holder.state}). Wait until it is done${isBeforeCommit(holder) ? ', or abort it' : ''}.`,
      { retryAfterSeconds },
    )
}

/** One wish of an operator doesn't queue: she is told whom she would wait for. */
function refuseBusy(record: MoveRecord, open: MoveRecord[]): void {
  const { source, target } = record
  const busy = open.find((other) => (other.hasLanes || other.state === 'planned') && shareShard(other, record))
  if (busy)
    throw new BanyanError('SHARD_IN_MOVE', `Move ${busy.id} (${busy.state}) is at ${source.id} or ${target.id}.`, {
      retryAfterSeconds: limits.moveRetryAfterSeconds,
    })
}

/** A reverse doesn't queue either, and what waits for the lanes takes them within seconds of their being free. */
function refuseWithoutLanes(record: MoveRecord, open: MoveRecord[]): void {
  const holder = laneHolder(record, open)
  if (!holder) return
  const waiting = open.filter((other) => other.state === 'planned' && shareShard(other, record))
  const first =
    waiting.length === 0 ? '' : ` Moves that wait for these shards come first: abort them (${waiting.length}).`
  throw new BanyanError(
    'SHARD_IN_MOVE',
    `Move ${holder.id} (${holder.state}) is at ${record.source.id} or ${record.target.id}.${first}`,
    { retryAfterSeconds: limits.moveRetryAfterSeconds },
  )
}

const notNow = ({ id, state, ending }: MoveRecord, verb: string, why: string) =>
  new BanyanError('MOVE_STATE', `Move ${id} is ${ending ? 'being undone' : state}, so it can't ${verb}. ${why}`)
