import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { zip } from '../core/zip.ts'
import { answersByName, onlyRow, statementsOf } from '../sharding/named-batch.ts'
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

/** What a statement for several tables says of one; `place` is the table's in the group. */
type TailRow = Omit<Tail, 'table'> & { place: number }

/** How far a tail reaches. */
interface Reach {
  seq: number
  /** Changes wait behind this tail: what the target gets is not yet what the source is. */
  isBehind: 0 | 1
  /** How many of them were captured since the move began, counted up to a bound. */
  waiting: number
}

/** The rows of one table and range, and the key of the last one; null after a range's last row. */
interface Chunk {
  place: Place
  rows: PackedRows
  end: string | null
}

/** What the source said, in one snapshot. */
interface SourceSnapshot extends Reach {
  tails: Tail[]
  chunk: Chunk | null
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
    const { found } = await this.#source.batch('total', {
      found: statement<{ seq: number }>(last, this.#move.id),
    })
    return onlyRow(found).seq
  }

  /** The statement that drops what a shard captured for this move. */
  forgetChanges(): Statement {
    return statement('DELETE FROM slot_changes WHERE move_id = ?', this.#move.id)
  }

  /** Throws `Refused` where too many changes wait at the source. For when the target is away; it has the cursors of a reverse. */
  async refuseLongTail(): Promise<void> {
    if (this.#move.reversals > 0) return
    const waiting = `SELECT count(*) AS rows FROM (SELECT 1 FROM slot_changes WHERE move_id = ? LIMIT ${limits.moveLogRowsMax + 1})`
    const { found } = await this.#source.batch('waiting', {
      found: statement<{ rows: number }>(waiting, this.#move.id),
    })
    refuseLongTail(onlyRow(found).rows)
  }

  /** Drops the oldest changes that a shard captured for this move, a bounded number. True when it had fewer. */
  async dropChanges(operation: string, side: ShardSide): Promise<boolean> {
    const oldest = 'SELECT seq FROM slot_changes WHERE move_id = ? ORDER BY seq LIMIT ?'
    const { dropped } = await this.#pace.round(() =>
      side.batch(operation, {
        deleted: statement(`DELETE FROM slot_changes WHERE seq IN (${oldest})`, this.#move.id, limits.movePurgeRowsMax),
        dropped: statement<{ rows: number }>('SELECT changes() AS rows'),
      }),
    )
    return onlyRow(dropped).rows < limits.movePurgeRowsMax
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
      (snapshot) => snapshot.chunk?.rows.rows === rowsMax,
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
    await this.#target.batch('keep', { kept: keep(this.#move.id, this.#cursors) })
  }

  /** Deletes some rows of these slots, where all of them are in the state. True when none is left. */
  async purge(operation: string, side: ShardSide, state: SlotState, part: Part): Promise<boolean> {
    const ranges = JSON.stringify(pastRanges(part.ranges))
    const rowsMax = Math.min(this.#pace.rowsMax, limits.movePurgeRowsMax)
    const emptied = this.#emptied.get(side) ?? new Set()
    const tables = this.#tables.filter((table) => !emptied.has(table))
    const purges = tables.map((table) => ({
      deleted: statement(purgeSql(table, rowsMax), ranges),
      counted: statement<{ rows: number }>('SELECT changes() AS rows'),
    }))
    const answers = await this.#pace.round(() =>
      side.batch(operation, {
        expected: side.expect(state, part),
        opened: side.open,
        purges: purges.flatMap((purge) => statementsOf<Statement>(purge)),
        shut: side.shut,
      }),
    )
    const rest = answers.purges.values()
    const left = zip(tables, purges).flatMap(([table, purge]) => {
      const { counted } = answersByName(purge, rest)
      return onlyRow(counted).rows > 0 ? [table] : []
    })
    if (left.length === 0) this.#emptied.delete(side)
    else this.#emptied.set(side, new Set(this.#tables.filter((table) => !left.includes(table))))
    return left.length === 0
  }

  /** How much there is to do, for whoever watches. Slots are hashes: how far a large table's first rows reach tells how many there are. */
  async #estimate(): Promise<void> {
    this.#isEstimated = true
    const rowsMax = limits.moveCountRowsMax
    const ranges = JSON.stringify(this.#ranges)
    const { samples } = await this.#source.batch('total', {
      samples: this.#tables.map((table) =>
        statement<{ rows: number; slot: string | null }>(sampleSql(table, rowsMax), ranges),
      ),
    })
    this.#cursors.rowsTotal = samples.map(onlyRow).reduce((sum, { rows, slot }) => {
      if (rows < rowsMax || slot === null) return sum + rows
      return sum + Math.round((rows * this.#move.slots) / this.#slotsUpTo(slot))
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
    const groups = this.#tailGroups
    const answers = await this.#source.batch(operation, {
      prelude,
      // What the target has, and was found to have where that is asked, is done with.
      pruned: isPruned ? [] : [statement('DELETE FROM slot_changes WHERE move_id = ? AND seq <= ?', id, seq)],
      bound: statement(this.#boundTail, id, seq, limits.moveChunkBytesMax),
      reach: statement<Reach>(tailReachSql(limits.moveLogRowsMax + 1), id, lastSeq),
      tails: groups.map((tables) => statement<TailRow>(this.#tailsSql(tables), id, seq)),
      ...(chunk ? this.#chunkAtSource(chunk) : { chunkBound: [], chunkRows: [] }),
    })
    this.#prunedTo = Math.max(seq, this.#prunedTo)
    const tails = zip(groups, answers.tails).flatMap(([tables, { results }]) =>
      results.map(({ place, ...tail }) => ({ table: present(tables[place], 'the table of a tail'), ...tail })),
    )
    const [rows] = answers.chunkRows.map(onlyRow)
    return { ...onlyRow(answers.reach), tails, chunk: chunk && rows ? { place: chunk, rows, end: rows.end } : null }
  }

  /** What the tail says of several tables, a row each. */
  #tailsSql(tables: MovedTable[]): string {
    return tables
      .map((table, place) => `SELECT ${place} AS place, * FROM (${tailSql(table, this.#packing)})`)
      .join('\nUNION ALL ')
  }

  #chunkAtSource(place: Place) {
    const { table, first, after } = this.#at(place)
    const hasCursor = place.key !== null
    const from = [first, after, place.key]
    const chunkBound =
      place.walk === 'count'
        ? statement(boundCountSql(table, hasCursor, limits.moveCountRowsMax), ...from)
        : statement(boundChunkSql(table, hasCursor, this.#pace.rowsMax), ...from, limits.moveChunkBytesMax)
    const chunkRows = statement<PackedRows & { end: string | null }>(
      `SELECT (${chunkReachSql(table)}) AS "end", * FROM (${this.#inChunkSql(place, table, 'chunk')})`,
      ...from,
    )
    return { chunkBound: [chunkBound], chunkRows: [chunkRows] }
  }

  #inChunkSql({ walk, key }: Place, table: MovedTable, bound: 'chunk' | 'key' | 'slots'): string {
    return walk === 'count' ? countSql(table, key !== null, bound) : chunkSql(table, this.#packing, key !== null, bound)
  }

  async #write({ operation, isLast = false }: Round, snapshot: SourceSnapshot): Promise<void> {
    const { chunk } = snapshot
    const changed = snapshot.tails.filter((tail): tail is Tail & { keys: string } => tail.keys !== null)
    const isCopying = chunk?.place.walk === 'copy'
    const comparedTails = this.#compares ? changed : []
    const comparedChunks = chunk && !isCopying && !snapshot.isBehind ? [chunk] : []
    const next = this.#after(snapshot, comparedChunks.length > 0)
    const { tails, chunks } = await this.#target.batch(
      operation,
      {
        opened: this.#target.open,
        changed: changed.flatMap((tail) => [statement(deleteSql(tail.table), tail.keys), ...upserts(tail.table, tail)]),
        copied: isCopying ? upserts(this.#at(chunk.place).table, chunk.rows) : [],
        // While comparing, what this batch brings isn't known to be right before its answer has come.
        kept: shutAndKeep(this.#move.id, this.#compares ? this.#cursors : next),
        tails: comparedTails.map(({ table, keys }) => statement<PackedRows>(namedSql(table, this.#packing), keys)),
        chunks: comparedChunks.map((compared) => this.#chunkAtTarget(compared)),
      },
      isLast,
    )
    for (const [tail, readBack] of zip(comparedTails, tails)) compareRows(tail.table, tail, onlyRow(readBack))
    for (const [{ place, rows }, readBack] of zip(comparedChunks, chunks)) {
      const compare = place.walk === 'count' ? compareCounts : compareRows
      compare(this.#at(place).table, rows, onlyRow(readBack))
    }
    this.#cursors = next
  }

  #chunkAtTarget({ place, end }: Chunk): Statement<PackedRows> {
    const { table, first, after } = this.#at(place)
    const from = [first, after, place.key]
    return end === null
      ? statement(this.#inChunkSql(place, table, 'slots'), ...from)
      : statement(this.#inChunkSql(place, table, 'key'), ...from, end)
  }

  /** The cursors once a round has done what it should. A chunk that couldn't be compared is walked again. */
  #after({ seq, chunk }: SourceSnapshot, isCompared: boolean): Cursors {
    const cursors = { ...this.#cursors, seq }
    if (!chunk || (chunk.place.walk !== 'copy' && !isCompared)) return cursors
    cursors.place = placeAfter(chunk.place, chunk.end, this.#ranges.length)
    cursors[counters[chunk.place.walk]] += chunk.rows.rows
    return cursors
  }

  #at(place: Place) {
    const table = this.#tables[place.table]
    if (!table) throw new Refused('The cursors are behind the last table. Start the move again.')
    const [first, after] = present(this.#ranges[place.range], 'the range of a place')
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

const packsOf = ({ tails, chunk }: SourceSnapshot): PackedRows[] => (chunk ? [...tails, chunk.rows] : tails)

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
