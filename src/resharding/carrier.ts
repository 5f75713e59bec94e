import { limits } from '../core/limits.ts'
import { type Cursors, firstCursors, firstPlace, type Place, placeAfter } from './cursors.ts'
import { compareRows, Difference } from './differences.ts'
import type { Pace } from './pace.ts'
import { type MoveProgress, type MoveRecord, slotAfter } from './record.ts'
import {
  boundStretchSql,
  boundTailSql,
  countSql,
  deleteSql,
  isMangled,
  namedSql,
  type PackedRows,
  type Packing,
  purgeSql,
  stretchReachSql,
  stretchSql,
  TAIL_REACH,
  tailSql,
  upsertSql,
} from './rows.ts'
import {
  Interrupted,
  Refused,
  type ShardSide,
  type SideReport,
  type SlotState,
  type Statement,
  statement,
} from './shard-side.ts'
import type { MovedTable } from './tables.ts'

/** What one round carries besides the tail. */
interface Load {
  /** What the batches are called, so that a double can tell them apart. */
  operation: string
  /** What the source's batch begins with. */
  prelude?: Statement[]
  stretch?: Place
  counts?: boolean
  /** The target's batch is sent also when it has nothing to write, and D1's bookmark is kept. */
  isLast?: boolean
}

interface Tail extends PackedRows {
  table: MovedTable
  keys: string | null
}

/** What the source said, in one snapshot. */
interface Haul {
  seq: number
  /** Changes behind this tail: what the target gets is not yet what the source is. */
  waiting: number
  tails: Tail[]
  end: string | null
  rows: PackedRows | null
  counts: number[]
}

/**
 * Carries rows from source to target, in rounds of two batches. The source's reads, in one snapshot, the tail of captured
 * changes, the rows that these name as they are now, and the next stretch of a table; the target's writes all of it, and the
 * cursors. While comparing, the target's batch reads back what it wrote: after the tail is applied both sides are one
 * snapshot, so whatever differs is wrong.
 */
export class Carrier {
  readonly #source: ShardSide
  readonly #target: ShardSide
  readonly #move: MoveRecord
  readonly #pace: Pace
  readonly #ranges: [string, string][]
  #tables: MovedTable[] = []
  #boundTail = ''
  #cursors: Cursors
  #schemas: [string, string] = ['', '']
  #compares = false
  #isCounted = false
  #packing: Packing = 'mixed'

  constructor(source: ShardSide, target: ShardSide, move: MoveRecord, pace: Pace) {
    this.#source = source
    this.#target = target
    this.#move = move
    this.#pace = pace
    this.#ranges = move.ranges.map(([first, last]) => [first, slotAfter(last)])
    this.#cursors = { ...firstCursors(''), ...progressOf(move) }
  }

  get progress(): MoveProgress {
    return progressOf(this.#cursors)
  }

  /** Takes up what the shards say. Cursors of another move are nobody's. */
  begin(source: SideReport, target: SideReport, state: MoveRecord['state']): void {
    this.#tables = source.tables
    this.#boundTail = boundTailSql(source.tables, limits.moveTailRowsMax)
    this.#schemas = [source.schema, target.schema]
    this.#compares = state === 'verifying' || state === 'cutover'
    if (target.moveId === this.#move.id) this.#cursors = JSON.parse(target.cursors) as Cursors
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

  /** The statement that begins the copy at its beginning. */
  firstCursors(): Statement {
    this.#cursors = firstCursors(this.#schemas[1])
    return keep(this.#move.id, this.#cursors)
  }

  /** The statement that drops what a shard captured for this move. */
  forgetChanges(): Statement {
    return statement('DELETE FROM slot_changes WHERE move_id = ?', this.#move.id)
  }

  /** Drops the oldest changes that a shard captured for this move, a bounded number. True when it had fewer. */
  async dropChanges(side: ShardSide): Promise<boolean> {
    const oldest = 'SELECT seq FROM slot_changes WHERE move_id = ? ORDER BY seq LIMIT ?'
    const [, dropped] = await this.#pace.round(() =>
      side.batch<{ rows: number }>('purge', [
        statement(`DELETE FROM slot_changes WHERE seq IN (${oldest})`, this.#move.id, limits.movePurgeRowsMax),
        statement('SELECT changes() AS rows'),
      ]),
    )
    return dropped![0]!.rows < limits.movePurgeRowsMax
  }

  /** True when every row has been copied that was there when the capture began. */
  async copyStretch(): Promise<boolean> {
    if (!this.#isCounted && this.#cursors.rowsTotal === 0) await this.#count()
    const { place } = this.#cursors
    if (place.table < this.#tables.length) await this.#carryStretch('copy', place)
    return this.#cursors.place.table >= this.#tables.length
  }

  /** True when every row has been found equal. Throws `Difference`. */
  async verifyStretch(): Promise<boolean> {
    if (this.#cursors.place.walk === 'copy') this.#cursors.place = firstPlace('verify')
    this.#compares = true
    const { place } = this.#cursors
    if (place.table < this.#tables.length) await this.#carryStretch('verify', place)
    return this.#cursors.place.table >= this.#tables.length
  }

  async #carryStretch(operation: string, stretch: Place): Promise<void> {
    const { rowsMax } = this.#pace
    await this.#pace.round(
      () => this.#round({ operation, stretch }),
      ({ rows }) => rows!.rows === rowsMax,
    )
  }

  /** True when both sides were found to have as many rows in each table. Throws `Difference`. */
  async compareCounts(): Promise<boolean> {
    const { waiting } = await this.#pace.round(() => this.#round({ operation: 'count', counts: true }))
    return waiting === 0
  }

  /** Carries the tail. True when one batch held it all: so it will where the source is fenced. */
  async catchUp(): Promise<boolean> {
    return (await this.#pace.round(() => this.#round({ operation: 'catch-up' }))).waiting === 0
  }

  /** Fences the source, and carries what it says in the same batch. */
  async fence(): Promise<boolean> {
    const prelude = this.#source.become(['moving', 'fenced'], 'fenced')
    return (await this.#round({ operation: 'fence', prelude, isLast: true })).waiting === 0
  }

  /** Carries what the fenced source still has. True when the target has it all. */
  async drain(): Promise<boolean> {
    return (await this.#round({ operation: 'drain', isLast: true })).waiting === 0
  }

  /** Keeps what was found equal, so that the next turn goes on behind it. */
  async keepPlace(): Promise<void> {
    await this.#target.batch('keep', [keep(this.#move.id, this.#cursors)])
  }

  /** Deletes some rows of the move's slots, where all of these are in the state. True when none is left. */
  async purge(operation: string, side: ShardSide, state: SlotState): Promise<boolean> {
    const ranges = JSON.stringify(this.#ranges)
    const rowsMax = Math.min(this.#pace.rowsMax, limits.movePurgeRowsMax)
    const answers = await this.#pace.round(() =>
      side.batch<{ rows: number }>(operation, [
        side.expect(state),
        side.open,
        ...this.#tables.flatMap((table) => [
          statement(purgeSql(table, rowsMax), ranges),
          statement('SELECT changes() AS rows'),
        ]),
        side.shut,
      ]),
    )
    return answers.flat().every(({ rows }) => rows === 0)
  }

  /** How much there is to do, for whoever watches. */
  async #count(): Promise<void> {
    this.#isCounted = true
    const counts = await this.#source.batch<{ rows: number }>('total', this.#counts())
    this.#cursors.rowsTotal = counts.reduce((sum, [row]) => sum + row!.rows, 0)
  }

  #counts(): Statement[] {
    return this.#tables.map((table) => statement(countSql(table), JSON.stringify(this.#ranges)))
  }

  // ── a round ───────────────────────────────────────────────────────────────────────────────────

  async #round(load: Load): Promise<Haul> {
    const haul = await this.#read(load)
    if (this.#packing === 'mixed' && packsOf(haul).some(isMangled)) {
      this.#packing = 'tagged'
      return this.#round({ ...load, prelude: [] })
    }
    if (haul.waiting > limits.moveLogRowsMax)
      throw new Refused(`${haul.waiting} changes wait to be carried: the slots change faster than they can be moved`)
    const isEmpty = haul.tails.every(({ keys }) => keys === null) && !load.stretch && !load.counts
    if (!isEmpty || load.isLast) await this.#write(load, haul)
    return haul
  }

  async #read({ operation, prelude = [], stretch, counts }: Load): Promise<Haul> {
    const { id } = this.#move
    const { seq } = this.#cursors
    const before = [
      ...prelude,
      // What the target has, and was found to have where that is asked, is done with.
      statement('DELETE FROM slot_changes WHERE move_id = ? AND seq <= ?', id, seq),
      statement(this.#boundTail, id, seq, limits.moveChunkBytesMax),
    ]
    const answers = await this.#source.batch<never>(operation, [
      ...before,
      statement(TAIL_REACH, id),
      ...this.#tables.map((table) => statement(tailSql(table, this.#packing), id, seq)),
      ...(stretch ? this.#stretchAtSource(stretch) : []),
      ...(counts ? this.#counts() : []),
    ])
    const [reach, ...rest] = answers.slice(before.length)
    const tails = this.#tables.map((table, index) => ({ table, ...(rest[index]![0]! as Omit<Tail, 'table'>) }))
    const others = rest.slice(this.#tables.length)
    const found = stretch ? others.splice(0, 3) : []
    return {
      ...(reach![0]! as { seq: number; waiting: number }),
      tails,
      end: stretch ? (found[1]![0]! as { end: string | null }).end : null,
      rows: stretch ? found[2]![0]! : null,
      counts: others.map(([row]) => (row! as { rows: number }).rows),
    }
  }

  #stretchAtSource(place: Place): Statement[] {
    const { table, first, after } = this.#at(place)
    const hasCursor = place.key !== null
    return [
      statement(
        boundStretchSql(table, hasCursor, this.#pace.rowsMax),
        first,
        after,
        place.key,
        limits.moveChunkBytesMax,
      ),
      statement(stretchReachSql(table), first, after),
      statement(stretchSql(table, this.#packing, hasCursor, 'stretch'), first, after, place.key),
    ]
  }

  async #write({ operation, stretch, counts, isLast = false }: Load, haul: Haul): Promise<void> {
    const changed = haul.tails.filter((tail): tail is Tail & { keys: string } => tail.keys !== null)
    const isVerifying = stretch?.walk === 'verify'
    const comparesStretch = isVerifying && haul.waiting === 0
    const next = this.#after(haul, stretch, comparesStretch)
    const writes = [
      this.#target.open,
      ...changed.flatMap((tail) => [statement(deleteSql(tail.table), tail.keys), ...upserts(tail.table, tail)]),
      ...(stretch && !isVerifying ? upserts(this.#at(stretch).table, haul.rows!) : []),
      this.#target.shut,
      // While comparing, what this batch brings isn't known to be right before its answer has come.
      keep(this.#move.id, this.#compares ? this.#cursors : next),
    ]
    const answers = await this.#target.batch<never>(
      operation,
      [
        ...writes,
        ...(this.#compares ? changed.map(({ table, keys }) => statement(namedSql(table, this.#packing), keys)) : []),
        ...(comparesStretch ? [this.#stretchAtTarget(stretch, haul.end)] : []),
        ...(counts ? this.#counts() : []),
      ],
      isLast,
    )
    const readBack = answers.slice(writes.length).map(([row]) => row! as PackedRows)
    if (this.#compares) for (const tail of changed) compareRows(tail.table, tail, readBack.shift()!)
    if (comparesStretch) compareRows(this.#at(stretch).table, haul.rows!, readBack.shift()!)
    if (counts && haul.waiting === 0) this.#compareCounts(haul.counts, readBack)
    this.#cursors = next
    if (counts) this.#cursors.rowsTotal = haul.counts.reduce((sum, rows) => sum + rows, 0)
  }

  #stretchAtTarget(place: Place, end: string | null): Statement {
    const { table, first, after } = this.#at(place)
    const hasCursor = place.key !== null
    return end === null
      ? statement(stretchSql(table, this.#packing, hasCursor, 'slots'), first, after, place.key)
      : statement(stretchSql(table, this.#packing, hasCursor, 'key'), first, after, place.key, end)
  }

  /** The cursors once a round has done what it should. A stretch that couldn't be compared is walked again. */
  #after(haul: Haul, stretch: Place | undefined, isCompared: boolean): Cursors {
    const cursors = { ...this.#cursors, seq: haul.seq }
    if (!stretch || (stretch.walk === 'verify' && !isCompared)) return cursors
    cursors.place = placeAfter(stretch, haul.end, this.#ranges.length)
    if (stretch.walk === 'copy') cursors.rowsCopied += haul.rows!.rows
    else cursors.rowsVerified += haul.rows!.rows
    return cursors
  }

  #compareCounts(source: number[], target: PackedRows[]): void {
    const uneven = this.#tables.flatMap(({ name }, index) => {
      const [left, right] = [source[index]!, target[index]!.rows]
      return left === right ? [] : [`${name}: ${left} rows at the source, ${right} at the target`]
    })
    if (uneven.length > 0) throw new Difference(uneven.join('; '))
  }

  #at(place: Place) {
    const table = this.#tables[place.table]
    if (!table) throw new Interrupted('the cursors are behind the last table')
    const [first, after] = this.#ranges[place.range]!
    return { table, first, after }
  }
}

const progressOf = ({ rowsTotal, rowsCopied, rowsVerified }: MoveProgress): MoveProgress => ({
  rowsTotal,
  rowsCopied,
  rowsVerified,
})

const packsOf = ({ tails, rows }: Haul): PackedRows[] => (rows ? [...tails, rows] : tails)

const keep = (moveId: string, cursors: Cursors): Statement =>
  statement('UPDATE mover SET move_id = ?, cursors = ? WHERE id = 1', moveId, JSON.stringify(cursors))

const upserts = (table: MovedTable, { plain, tagged }: PackedRows): Statement[] => [
  ...(plain === null ? [] : [statement(upsertSql(table, 'plain'), plain)]),
  ...(tagged === null ? [] : [statement(upsertSql(table, 'tagged'), tagged)]),
]
