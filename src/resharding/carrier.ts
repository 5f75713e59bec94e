import { limits } from '../core/limits.ts'
import type { Pace } from '../core/pace.ts'
import { present } from '../core/present.ts'
import { zip } from '../core/zip.ts'
import { answersByName, onlyRow, statementsOf } from '../sharding/named-batch.ts'
import { type Cursors, firstCursors, firstPlace, type Place, placeAfter } from './cursors.ts'
import { compareCounts, compareRows } from './differences.ts'
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

/** What one round carries in addition to the tail. */
interface Round {
  /** Names the batches, so that a test double can tell them apart. */
  operation: string
  /** Statements that start the source's batch. */
  prelude?: Statement[]
  chunk?: Place
  /** Sends the target's batch even if it has nothing to write, and keeps D1's bookmark. */
  isLast?: boolean
}

interface Tail extends PackedRows {
  table: MovedTable
  keys: string | null
}

/** One table's row in the answer of a grouped statement. `place` is the table's index in the group. */
type TailRow = Omit<Tail, 'table'> & { place: number }

/** How far a tail reaches. */
interface Reach {
  seq: number
  /** More changes wait behind this tail, so the target will not yet equal the source. */
  isBehind: 0 | 1
  /** How many changes captured since the move started are waiting, counted up to a bound. */
  waiting: number
}

/** The rows of one table and range, and the key of the last row. Null after the range's last row. */
interface Chunk {
  place: Place
  rows: PackedRows
  end: string | null
}

/** The source's answer, from one snapshot. */
interface SourceSnapshot extends Reach {
  tails: Tail[]
  chunk: Chunk | null
}

/**
 * Carries rows from source to target in rounds of two batches. The source's batch reads, in one snapshot, the tail of
 * captured changes, the current rows that the tail names, and the next chunk of a table. The target's batch writes all
 * of it, with the cursors. While comparing, the target's batch also reads back what it wrote. Once the tail is applied,
 * both sides are one snapshot, so any difference is an error.
 */
export class Carrier {
  readonly #source: ShardSide
  readonly #target: ShardSide
  readonly #move: MoveRecord
  readonly #pace: Pace
  readonly #ranges: [string, string][]
  /** Tables in which this incarnation found nothing left to delete, by shard. Only this move writes them. */
  readonly #emptied = new Map<ShardSide, Set<MovedTable>>()
  #tables: MovedTable[] = []
  #boundTail = ''
  #tailGroups: MovedTable[][] = []
  /** The source's changes up to this `seq` are deleted. */
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

  /** The most statements that a round sends, including rows that must be packed again. */
  get roundStatements(): number {
    return 20 + 2 * this.#tailGroups.length + 4 * this.#tables.length
  }

  /** The most statements that one piece of a purge sends. */
  get pieceStatements(): number {
    return 4 + 2 * this.#tables.length
  }

  /** Takes over the shards' state. Ignores cursors of another move. Throws `Refused` if the cursors cannot be read. */
  begin(source: SideReport, target: SideReport, state: MoveRecord['state']): void {
    this.#tables = source.tables
    this.#tailGroups = grouped(source.tables)
    this.#boundTail = boundTailSql(source.tables, limits.moveTailRowsMax)
    this.#schemas = [source.schema, target.schema]
    this.#compares = state === 'verifying' || state === 'cutover'
    if (target.moveId === this.#move.id) this.#cursors = readCursors(this.#target.shard.id, target.cursors)
  }

  /**
   * A row copied under one schema may lack a column of the next. Before the copy starts, the move waits for a running
   * migration, because failing would fail every move that waits for lanes.
   */
  refuseDifferentSchemas(state: MoveRecord['state']): void {
    const [source, target] = this.#schemas
    const differ = `the source has ${source}, the target ${target}`
    if (state === 'preparing') {
      if (source !== target) throw new Interrupted(differ)
      return
    }
    if (source !== target) throw new Refused(`${differ}; apply the migrations to all shards, then start the move again`)
    if (this.#cursors.schema !== '' && this.#cursors.schema !== source)
      throw new Refused(
        `a migration was applied during the move (${this.#cursors.schema}, now ${source}); start the move again`,
      )
  }

  /**
   * The statement that resets the cursors to the start of the copy. A reverse keeps its rows and carries the changes
   * captured until now.
   */
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

  /** The statement that deletes the changes that a shard captured for this move. */
  forgetChanges(): Statement {
    return statement('DELETE FROM slot_changes WHERE move_id = ?', this.#move.id)
  }

  /**
   * Throws `Refused` if too many changes wait at the source. Used while the target, which has a reverse's cursors, is
   * unavailable.
   */
  async refuseLongTail(): Promise<void> {
    if (this.#move.reversals > 0) return
    const waiting = `SELECT count(*) AS rows FROM (SELECT 1 FROM slot_changes WHERE move_id = ? LIMIT ${limits.moveLogRowsMax + 1})`
    const { found } = await this.#source.batch('waiting', {
      found: statement<{ rows: number }>(waiting, this.#move.id),
    })
    refuseLongTail(onlyRow(found).rows)
  }

  /** Deletes the oldest changes that a shard captured for this move, up to a limit. True if none is left. */
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

  /** Copies the next chunk. True if all rows that existed when the capture started are copied. */
  async copyChunk(): Promise<boolean> {
    if (!this.#isEstimated && this.#cursors.rowsTotal === 0) await this.#estimate()
    const { place } = this.#cursors
    if (place.table < this.#tables.length) await this.#carryChunk('copy', place)
    return this.#cursors.place.table >= this.#tables.length
  }

  /**
   * Compares the next chunk. True once all rows are equal and a second walk found equal counts, which detects rows lost
   * after they were compared. Throws `Difference`.
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

  /** Carries the tail. True if one batch held it all, so that the cutover's batch can hold it too. */
  async catchUp(): Promise<boolean> {
    return !(await this.#pace.round(() => this.#round({ operation: 'catch-up' }))).isBehind
  }

  /** Fences the source, and carries the tail read in the same batch. */
  async fence(): Promise<boolean> {
    const prelude = this.#source.become(['moving', 'fenced'], 'fenced')
    return !(await this.#round({ operation: 'fence', prelude, isLast: true })).isBehind
  }

  /** Carries the fenced source's remaining changes. True if the target has them all. */
  async drain(): Promise<boolean> {
    return !(await this.#round({ operation: 'drain', isLast: true })).isBehind
  }

  /** Keeps the position of the comparison, so that the next turn resumes there. */
  async keepPlace(): Promise<void> {
    await this.#target.batch('keep', { kept: keep(this.#move.id, this.#cursors) })
  }

  /** Deletes some rows of these slots, if all slots are in the state. True if no row is left. */
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

  /**
   * Estimates the rows to copy, for progress reports. Slots are hashes, so the share of slots that a large table's
   * first rows reach gives its size.
   */
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
      // Delete the changes that the target has, and that were compared if the move is comparing.
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

  /** One statement that reads the tail of several tables, one row per table. */
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
        // While comparing, a batch is known to be right only after its answer has been checked.
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

  /** The cursors after a successful round. A chunk that could not be compared is read again. */
  #after({ seq, chunk }: SourceSnapshot, isCompared: boolean): Cursors {
    const cursors = { ...this.#cursors, seq }
    if (!chunk || (chunk.place.walk !== 'copy' && !isCompared)) return cursors
    cursors.place = placeAfter(chunk.place, chunk.end, this.#ranges.length)
    cursors[counters[chunk.place.walk]] += chunk.rows.rows
    return cursors
  }

  #at(place: Place) {
    const table = this.#tables[place.table]
    if (!table) throw new Refused('the cursors point past the last table; start the move again')
    const [first, after] = present(this.#ranges[place.range], 'the range of a place')
    return { table, first, after }
  }
}

function refuseLongTail(waiting: number): void {
  if (waiting > limits.moveLogRowsMax)
    throw new Refused(
      `more than ${limits.moveLogRowsMax} changes wait to be copied, because the slots change faster than the move copies them`,
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

/** Like `keep`, and also closes the window, which saves one statement per round. */
const shutAndKeep = (moveId: string, cursors: Cursors): Statement =>
  statement('UPDATE mover SET open = 0, move_id = ?, cursors = ? WHERE id = 1', moveId, JSON.stringify(cursors))

/** Each range's first slot, and the text after its last one. */
const pastRanges = (ranges: MoveRecord['ranges']): [string, string][] =>
  ranges.map(([first, last]) => [first, slotAfter(last)])

function readCursors(shard: string, text: string): Cursors {
  const unreadable = (cause?: unknown) =>
    new Refused(`${shard}: the move's cursors cannot be read; start the move again`, { cause })
  let cursors: Partial<Cursors>
  try {
    cursors = JSON.parse(text) as Partial<Cursors>
  } catch (error) {
    throw unreadable(error)
  }
  if (!cursors.place) throw unreadable()
  return cursors as Cursors
}

/**
 * The platform allows a statement five terms of a compound SELECT, 100 KB, and 25,000 instructions (54 per column
 * here).
 */
const GROUP_TABLES_MAX = 5
const GROUP_TEXT_MAX = 50_000

/** The tables in order, grouped so that one statement can name each group. */
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
