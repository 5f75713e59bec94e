import { limits } from '../core/limits.ts'
import { type Cursors, firstCursors, firstPlace, type Place, placeAfter } from './cursors.ts'
import { compareCounts, compareRows } from './differences.ts'
import type { Pace } from './pace.ts'
import { countSlots, type MoveProgress, type MoveRecord, slotAfter } from './record.ts'
import {
  boundChunkSql,
  boundCountSql,
  boundTailSql,
  chunkReachSql,
  chunkSql,
  countSql,
  deleteSql,
  isMangled,
  namedSql,
  type PackedRows,
  type Packing,
  purgeSql,
  sampleSql,
  tailReachSql,
  tailSql,
  upsertSql,
} from './rows.ts'
import {
  Interrupted,
  type Part,
  Refused,
  type ShardSide,
  type SideReport,
  type SlotState,
  type Statement,
  statement,
} from './shard-side.ts'
import type { MovedTable } from './tables.ts'

/** What one round carries besides the tail. */
interface Round {
  /** What the batches are called, so that a double can tell them apart. */
  operation: string
  /** What the source's batch begins with. */
  prelude?: Statement[]
  chunk?: Place
  /** The target's batch is sent also when it has nothing to write, and D1's bookmark is kept. */
  isLast?: boolean
}

interface Tail extends PackedRows {
  table: MovedTable
  keys: string | null
}

/** What the source said, in one snapshot. */
interface SourceSnapshot {
  seq: number
  /** Changes wait behind this tail: what the target gets is not yet what the source is. */
  isBehind: 0 | 1
  /** How many of them were captured since the move began, counted up to a bound. */
  waiting: number
  tails: Tail[]
  end: string | null
  rows: PackedRows | null
}

/**
 * Carries rows from source to target, in rounds of two batches. The source's reads, in one snapshot, the tail of captured
 * changes, the rows that these name as they are now, and the next chunk of a table; the target's writes all of it, and the
 * cursors. While comparing, the target's batch reads back what it wrote: after the tail is applied both sides are one
 * snapshot, so whatever differs is wrong.
 */
export class Carrier {
  readonly #source: ShardSide
  readonly #target: ShardSide
  readonly #move: MoveRecord
  readonly #pace: Pace
  readonly #ranges: [string, string][]
  /** Tables in which this incarnation found nothing left to delete, by shard: nobody else writes there. */
  readonly #emptied = new Map<ShardSide, Set<MovedTable>>()
  #tables: MovedTable[] = []
  #boundTail = ''
  #tailGroups: MovedTable[][] = []
  /** Up to this `seq` the source's changes are deleted. */
  #prunedTo = 0
  #cursors: Cursors
  #schemas: [string, string] = ['', '']
  #compares = false
  #isEstimated = false
  #packing: Packing = 'mixed'

  constructor(source: ShardSide, target: ShardSide, move: MoveRecord, pace: Pace) {
    this.#source = source
    this.#target = target
    this.#move = move
    this.#pace = pace
    this.#ranges = pastRanges(move.ranges)
    this.#cursors = { ...firstCursors(''), ...progressOf(move) }
  }

  get progress(): MoveProgress {
    return progressOf(this.#cursors)
  }

  /** How many statements a round sends at the most, rows that must be packed again included. */
  get roundStatements(): number {
    return 20 + 2 * this.#tailGroups.length + 4 * this.#tables.length
  }

  /** How many statements a piece of a purge sends at the most. */
  get pieceStatements(): number {
    return 4 + 2 * this.#tables.length
  }

  /** Takes up what the shards say. Cursors of another move are ignored. Throws `Refused` where they can't be read. */
  begin(source: SideReport, target: SideReport, state: MoveRecord['state']): void {
    this.#tables = source.tables
    this.#tailGroups = grouped(source.tables)
    this.#boundTail = boundTailSql(source.tables, limits.moveTailRowsMax)
    this.#schemas = [source.schema, target.schema]
    this.#compares = state === 'verifying' || state === 'cutover'
    if (target.moveId === this.#move.id) this.#cursors = readCursors(this.#target.shard.id, target.cursors)
  }

  /**
   * A row copied under one schema may lack a column of the next. Before anything is copied a migration that is under way
   * is waited for: else it would fail every move that waits for lanes.
   */
  refuseDifferentSchemas(state: MoveRecord['state']): void {
    const [source, target] = this.#schemas
    const differ = `the source has ${source}, the target ${target}`
    if (state === 'preparing') {
      if (source !== target) throw new Interrupted(differ)
      return
    }
    if (source !== target) throw new Refused(`${differ}: migrate all shards, then move`)
    if (this.#cursors.schema !== '' && this.#cursors.schema !== source)
      throw new Refused(
        `a migration was applied meanwhile (${this.#cursors.schema}, now ${source}): start the move again`,
      )
  }

  /** The statement that begins the copy at its beginning. A reverse has its rows, and what was captured until now to carry. */
  async firstCursors(): Promise<Statement> {
    const lastSeq = this.#move.reversals > 0 ? await this.#lastChange() : 0
    this.#cursors = firstCursors(this.#schemas[1], lastSeq)
    return keep(this.#move.id, this.#cursors)
  }

  async #lastChange(): Promise<number> {
    const last = 'SELECT coalesce(max(seq), 0) AS seq FROM slot_changes WHERE move_id = ?'
    const [found] = await this.#source.batch<{ seq: number }>('total', [statement(last, this.#move.id)])
    return found![0]!.seq
  }

  /** The statement that drops what a shard captured for this move. */
  forgetChanges(): Statement {
    return statement('DELETE FROM slot_changes WHERE move_id = ?', this.#move.id)
  }

  /** Throws `Refused` where too many changes wait at the source. For when the target is away; it has the cursors of a reverse. */
  async refuseLongTail(): Promise<void> {
    if (this.#move.reversals > 0) return
    const waiting = `SELECT count(*) AS rows FROM (SELECT 1 FROM slot_changes WHERE move_id = ? LIMIT ${limits.moveLogRowsMax + 1})`
    const [found] = await this.#source.batch<{ rows: number }>('waiting', [statement(waiting, this.#move.id)])
    refuseLongTail(found![0]!.rows)
  }

  /** Drops the oldest changes that a shard captured for this move, a bounded number. True when it had fewer. */
  async dropChanges(operation: string, side: ShardSide): Promise<boolean> {
    const oldest = 'SELECT seq FROM slot_changes WHERE move_id = ? ORDER BY seq LIMIT ?'
    const [, dropped] = await this.#pace.round(() =>
      side.batch<{ rows: number }>(operation, [
        statement(`DELETE FROM slot_changes WHERE seq IN (${oldest})`, this.#move.id, limits.movePurgeRowsMax),
        statement('SELECT changes() AS rows'),
      ]),
    )
    return dropped![0]!.rows < limits.movePurgeRowsMax
  }

  /** True when every row has been copied that was there when the capture began. */
  async copyChunk(): Promise<boolean> {
    if (!this.#isEstimated && this.#cursors.rowsTotal === 0) await this.#estimate()
    const { place } = this.#cursors
    if (place.table < this.#tables.length) await this.#carryChunk('copy', place)
    return this.#cursors.place.table >= this.#tables.length
  }

  /**
   * True when every row has been found equal, and after that both sides to have as many: rows that were lost once they
   * had been compared. Throws `Difference`.
   */
  async verifyChunk(): Promise<boolean> {
    if (this.#cursors.place.walk === 'copy') this.#cursors.place = firstPlace('verify')
    this.#compares = true
    const { place } = this.#cursors
    if (place.table < this.#tables.length) await this.#carryChunk(place.walk, place)
    if (this.#cursors.place.table < this.#tables.length) return false
    const { rowsCounted } = this.#cursors
    const { walk } = place
    if (walk === 'count') this.#cursors.rowsTotal = rowsCounted
    else this.#cursors = { ...this.#cursors, place: firstPlace('count'), rowsCounted: 0 }
    return walk === 'count'
  }

  async #carryChunk(operation: string, chunk: Place): Promise<void> {
    const { rowsMax } = this.#pace
    await this.#pace.round(
      () => this.#round({ operation, chunk }),
      ({ rows }) => rows!.rows === rowsMax,
    )
  }

  /** Carries the tail. True when one batch held it all: so it will where the source is fenced. */
  async catchUp(): Promise<boolean> {
    return !(await this.#pace.round(() => this.#round({ operation: 'catch-up' }))).isBehind
  }

  /** Fences the source, and carries what it says in the same batch. */
  async fence(): Promise<boolean> {
    const prelude = this.#source.become(['moving', 'fenced'], 'fenced')
    return !(await this.#round({ operation: 'fence', prelude, isLast: true })).isBehind
  }

  /** Carries what the fenced source still has. True when the target has it all. */
  async drain(): Promise<boolean> {
    return !(await this.#round({ operation: 'drain', isLast: true })).isBehind
  }

  /** Keeps what was found equal, so that the next turn goes on behind it. */
  async keepPlace(): Promise<void> {
    await this.#target.batch('keep', [keep(this.#move.id, this.#cursors)])
  }

  /** Deletes some rows of these slots, where all of them are in the state. True when none is left. */
  async purge(operation: string, side: ShardSide, state: SlotState, part: Part): Promise<boolean> {
    const ranges = JSON.stringify(pastRanges(part.ranges))
    const rowsMax = Math.min(this.#pace.rowsMax, limits.movePurgeRowsMax)
    const emptied = this.#emptied.get(side) ?? new Set()
    const tables = this.#tables.filter((table) => !emptied.has(table))
    const answers = await this.#pace.round(() =>
      side.batch<{ rows: number }>(operation, [
        side.expect(state, part),
        side.open,
        ...tables.flatMap((table) => [
          statement(purgeSql(table, rowsMax), ranges),
          statement('SELECT changes() AS rows'),
        ]),
        side.shut,
      ]),
    )
    const rowsOf = (index: number) => answers[2 + 2 * index + 1]![0]!.rows
    const left = tables.filter((_, index) => rowsOf(index) > 0)
    if (left.length === 0) this.#emptied.delete(side)
    else this.#emptied.set(side, new Set(this.#tables.filter((table) => !left.includes(table))))
    return left.length === 0
  }

  /** How much there is to do, for whoever watches. Slots are hashes: how far a large table's first rows reach tells how many there are. */
  async #estimate(): Promise<void> {
    this.#isEstimated = true
    const rowsMax = limits.moveCountRowsMax
    const ranges = JSON.stringify(this.#ranges)
    const samples = await this.#source.batch<{ rows: number; slot: string | null }>(
      'total',
      this.#tables.map((table) => statement(sampleSql(table, rowsMax), ranges)),
    )
    this.#cursors.rowsTotal = samples.reduce((sum, [sample]) => {
      const { rows, slot } = sample!
      return sum + (rows < rowsMax ? rows : Math.round((rows * this.#move.slots) / this.#slotsUpTo(slot!)))
    }, 0)
  }

  #slotsUpTo(slot: string): number {
    const before = this.#move.ranges.filter(([first]) => first <= slot)
    return countSlots(before.map(([first, last]) => [first, last < slot ? last : slot]))
  }

  // ── a round ───────────────────────────────────────────────────────────────────────────────────

  async #round(round: Round): Promise<SourceSnapshot> {
    const snapshot = await this.#read(round)
    if (this.#packing === 'mixed' && packsOf(snapshot).some(isMangled)) {
      this.#packing = 'tagged'
      return this.#round({ ...round, prelude: [] })
    }
    refuseLongTail(snapshot.waiting)
    const isEmpty = snapshot.tails.every(({ keys }) => keys === null) && !round.chunk
    if (!isEmpty || round.isLast) await this.#write(round, snapshot)
    return snapshot
  }

  async #read({ operation, prelude = [], chunk }: Round): Promise<SourceSnapshot> {
    const { id } = this.#move
    const { seq, lastSeq = 0 } = this.#cursors
    const isPruned = seq <= this.#prunedTo
    const before = [
      ...prelude,
      // What the target has, and was found to have where that is asked, is done with.
      ...(isPruned ? [] : [statement('DELETE FROM slot_changes WHERE move_id = ? AND seq <= ?', id, seq)]),
      statement(this.#boundTail, id, seq, limits.moveChunkBytesMax),
    ]
    const groups = this.#tailGroups
    const answers = await this.#source.batch<never>(operation, [
      ...before,
      statement(tailReachSql(limits.moveLogRowsMax + 1), id, lastSeq),
      ...groups.map((tables) => statement(this.#tailsSql(tables), id, seq)),
      ...(chunk ? this.#chunkAtSource(chunk) : []),
    ])
    this.#prunedTo = Math.max(seq, this.#prunedTo)
    const [reach, ...rest] = answers.slice(before.length)
    const tails = groups.flatMap((tables, index) =>
      (rest[index] as unknown as (Omit<Tail, 'table'> & { place: number })[]).map(({ place, ...tail }) => ({
        table: tables[place]!,
        ...tail,
      })),
    )
    const rows = chunk ? (rest.at(-1)![0]! as PackedRows & { end: string | null }) : null
    return {
      ...(reach![0]! as Pick<SourceSnapshot, 'seq' | 'isBehind' | 'waiting'>),
      tails,
      end: rows?.end ?? null,
      rows,
    }
  }

  /** What the tail says of several tables, a row each. */
  #tailsSql(tables: MovedTable[]): string {
    return tables
      .map((table, place) => `SELECT ${place} AS place, * FROM (${tailSql(table, this.#packing)})`)
      .join('\nUNION ALL ')
  }

  #chunkAtSource(place: Place): Statement[] {
    const { table, first, after } = this.#at(place)
    const hasCursor = place.key !== null
    const from = [first, after, place.key]
    return [
      place.walk === 'count'
        ? statement(boundCountSql(table, hasCursor, limits.moveCountRowsMax), ...from)
        : statement(boundChunkSql(table, hasCursor, this.#pace.rowsMax), ...from, limits.moveChunkBytesMax),
      statement(
        `SELECT (${chunkReachSql(table)}) AS "end", * FROM (${this.#inChunkSql(place, table, 'chunk')})`,
        ...from,
      ),
    ]
  }

  #inChunkSql({ walk, key }: Place, table: MovedTable, bound: 'chunk' | 'key' | 'slots'): string {
    return walk === 'count' ? countSql(table, key !== null, bound) : chunkSql(table, this.#packing, key !== null, bound)
  }

  async #write({ operation, chunk, isLast = false }: Round, snapshot: SourceSnapshot): Promise<void> {
    const changed = snapshot.tails.filter((tail): tail is Tail & { keys: string } => tail.keys !== null)
    const isCopying = chunk?.walk === 'copy'
    const comparesChunk = chunk && !isCopying && !snapshot.isBehind
    const next = this.#after(snapshot, chunk, comparesChunk ?? false)
    const writes = [
      this.#target.open,
      ...changed.flatMap((tail) => [statement(deleteSql(tail.table), tail.keys), ...upserts(tail.table, tail)]),
      ...(isCopying ? upserts(this.#at(chunk).table, snapshot.rows!) : []),
      // While comparing, what this batch brings isn't known to be right before its answer has come.
      shutAndKeep(this.#move.id, this.#compares ? this.#cursors : next),
    ]
    const answers = await this.#target.batch<never>(
      operation,
      [
        ...writes,
        ...(this.#compares ? changed.map(({ table, keys }) => statement(namedSql(table, this.#packing), keys)) : []),
        ...(comparesChunk ? [this.#chunkAtTarget(chunk, snapshot.end)] : []),
      ],
      isLast,
    )
    const readBack = answers.slice(writes.length).map(([row]) => row! as PackedRows)
    if (this.#compares) for (const tail of changed) compareRows(tail.table, tail, readBack.shift()!)
    const compare = chunk?.walk === 'count' ? compareCounts : compareRows
    if (comparesChunk) compare(this.#at(chunk).table, snapshot.rows!, readBack.shift()!)
    this.#cursors = next
  }

  #chunkAtTarget(place: Place, end: string | null): Statement {
    const { table, first, after } = this.#at(place)
    const from = [first, after, place.key]
    return end === null
      ? statement(this.#inChunkSql(place, table, 'slots'), ...from)
      : statement(this.#inChunkSql(place, table, 'key'), ...from, end)
  }

  /** The cursors once a round has done what it should. A chunk that couldn't be compared is walked again. */
  #after(snapshot: SourceSnapshot, chunk: Place | undefined, isCompared: boolean): Cursors {
    const cursors = { ...this.#cursors, seq: snapshot.seq }
    if (!chunk || (chunk.walk !== 'copy' && !isCompared)) return cursors
    cursors.place = placeAfter(chunk, snapshot.end, this.#ranges.length)
    cursors[counters[chunk.walk]] += snapshot.rows!.rows
    return cursors
  }

  #at(place: Place) {
    const table = this.#tables[place.table]
    if (!table) throw new Refused('The cursors are behind the last table. Start the move again.')
    const [first, after] = this.#ranges[place.range]!
    return { table, first, after }
  }
}

function refuseLongTail(waiting: number): void {
  if (waiting > limits.moveLogRowsMax)
    throw new Refused(
      `more than ${limits.moveLogRowsMax} changes wait to be carried: the slots change faster than they can be moved`,
    )
}

const counters = { copy: 'rowsCopied', verify: 'rowsVerified', count: 'rowsCounted' } as const

const progressOf = ({ rowsTotal, rowsCopied, rowsVerified }: MoveProgress): MoveProgress => ({
  rowsTotal,
  rowsCopied,
  rowsVerified,
})

const packsOf = ({ tails, rows }: SourceSnapshot): PackedRows[] => (rows ? [...tails, rows] : tails)

const keep = (moveId: string, cursors: Cursors): Statement =>
  statement('UPDATE mover SET move_id = ?, cursors = ? WHERE id = 1', moveId, JSON.stringify(cursors))

/** The same, and the window shuts: one statement less in every round. */
const shutAndKeep = (moveId: string, cursors: Cursors): Statement =>
  statement('UPDATE mover SET open = 0, move_id = ?, cursors = ? WHERE id = 1', moveId, JSON.stringify(cursors))

/** First slot, and the text after the last one. */
const pastRanges = (ranges: MoveRecord['ranges']): [string, string][] =>
  ranges.map(([first, last]) => [first, slotAfter(last)])

function readCursors(shard: string, text: string): Cursors {
  const unreadable = (cause?: unknown) =>
    new Refused(`${shard}: the cursors of the move can't be read. Start the move again.`, { cause })
  let cursors: Partial<Cursors>
  try {
    cursors = JSON.parse(text) as Partial<Cursors>
  } catch (error) {
    throw unreadable(error)
  }
  if (!cursors.place) throw unreadable()
  return cursors as Cursors
}

/** The platform allows a statement five terms of a compound SELECT, 100 KB, and 25,000 instructions (54 a column here). */
const GROUP_TABLES_MAX = 5
const GROUP_TEXT_MAX = 50_000

/** The tables, in their order, as one statement can name them. */
function grouped(tables: MovedTable[]): MovedTable[][] {
  const groups: MovedTable[][] = []
  let size = 0
  for (const table of tables) {
    const last = groups.at(-1)
    const { length } = tailSql(table, 'mixed')
    if (last && last.length < GROUP_TABLES_MAX && size + length <= GROUP_TEXT_MAX) last.push(table)
    else {
      groups.push([table])
      size = 0
    }
    size += length
  }
  return groups
}

const upserts = (table: MovedTable, { plain, tagged }: PackedRows): Statement[] => [
  ...(plain === null ? [] : [statement(upsertSql(table, 'plain'), plain)]),
  ...(tagged === null ? [] : [statement(upsertSql(table, 'tagged'), tagged)]),
]
