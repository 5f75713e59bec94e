import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { answerOf } from '../sharding/answers.ts'
import {
  type AnswersOf,
  answersByName,
  type NamedBatch,
  onlyRow,
  statementsOf,
  type Typed,
} from '../sharding/named-batch.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import { countSlots, type MoveRecord, type MoveShard, rangesOf, type SlotRange, slotNumber } from './record.ts'
import { type ColumnRow, FIND_TABLES, type MovedTable, readTables } from './tables.ts'

export type SlotState = 'active' | 'moving' | 'fenced' | 'importing' | 'moved'

/** A batch without the expected effect. The next incarnation starts from scratch and derives the move's position. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** Another incarnation is active. The move is healthy, so operators are not told. */
export class Superseded extends Interrupted {}

/** The shard refused the content of a batch. Before the commit, the move fails with this reason. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/**
 * The shard is full or read-only. Before the commit, the move fails. After it, the mover retries until the shard takes
 * writes.
 */
export class Unwritable extends Interrupted {}

/** `none`: no slot has a row. `mixed`: slots are in several states, belong to another move, or only some have a row. */
export type SideState = SlotState | 'none' | 'mixed'

/** How many of the move's slots are in one state at a shard, and the move they belong to there. */
export interface SlotCount {
  state: SlotState
  moveId: string | null
  slots: number
}

/** Some of the move's slots. */
export interface Part {
  ranges: SlotRange[]
  slots: number
}

/** A shard's answer about a move, in one snapshot. */
export interface SideReport {
  /** The move that these cursors belong to, and the cursors (JSON). */
  moveId: string | null
  cursors: string
  /** The state that all of the move's slots have here. */
  state: SideState
  found: SlotCount[]
  schema: string
  tables: MovedTable[]
}

interface MoverRow {
  step: number
  moveId: string | null
  cursors: string
  version: string
}

/** Called before each batch leaves, so that a test double can hold, fail or lose exactly one. */
export interface BatchObserver {
  before(shard: string, operation: string): Promise<void>
}

/** Names the migrations that the shard has. Equal texts mean equal schemas. */
export const SCHEMA_VERSION =
  "SELECT count(*) || ' migrations, ' || coalesce(max(name), 'none') AS version FROM d1_migrations"

export type Statement<Row = unknown> = Typed<Row, { sql: string; values: unknown[] }>

export const statement = <Row = unknown>(sql: string, ...values: unknown[]): Statement<Row> => ({ sql, values })

/** Counts the move's slots by state and move. `?1`: ranges as JSON; `?2`: keyspace. */
export const COUNT_STATES = `SELECT state, move_id AS moveId, count(*) AS slots
   FROM json_each(?1) AS range CROSS JOIN slots ON keyspace = ?2
     AND slot BETWEEN json_extract(range.value, '$[0]') AND json_extract(range.value, '$[1]')
   GROUP BY state, move_id`

/** The state that all of the move's slots have at a shard, derived from their counts. */
export function commonState(found: SlotCount[], move: Pick<MoveRecord, 'id' | 'slots'>): SideState {
  const [first, ...others] = found
  if (!first) return 'none'
  const isOwn = first.state === 'active' || first.moveId === move.id
  return others.length === 0 && isOwn && first.slots === move.slots ? first.state : 'mixed'
}

/** One shard, as one incarnation of the mover sees it. Every batch carries the step and raises it. */
export class ShardSide {
  readonly shard: MoveShard
  readonly #database: ShardDatabase
  readonly #observer: BatchObserver
  readonly #clock: Clock
  readonly #move: Pick<MoveRecord, 'id' | 'keyspace' | 'ranges' | 'slots'>
  readonly #ranges: string
  /** All of the move's slots. */
  readonly whole: Part
  #step = -1
  #schema: string | null = null
  #bookmark: string | null = null

  constructor(
    shard: MoveShard,
    database: ShardDatabase,
    move: Pick<MoveRecord, 'id' | 'keyspace' | 'ranges' | 'slots'>,
    observer: BatchObserver,
    clock: Clock,
  ) {
    this.#clock = clock
    this.shard = shard
    this.#database = database
    this.#move = move
    this.#ranges = JSON.stringify(move.ranges)
    this.whole = { ranges: move.ranges, slots: move.slots }
    this.#observer = observer
  }

  /** D1's bookmark after the latest batch that asked for it. */
  get bookmark(): string | null {
    return this.#bookmark
  }

  /** Raises the step, so that batches of earlier incarnations no longer apply here. */
  async raise(): Promise<void> {
    const { raised } = await this.#send('raise', {
      raised: statement<{ step: number }>('UPDATE mover SET step = step + 1 WHERE id = 1 RETURNING step'),
    })
    const [mover] = raised.results
    if (!mover) throw new Refused(`${this.shard.id} has no row in its table "mover"`)
    this.#step = mover.step
  }

  /** Throws `Superseded` if the step is not the one that this incarnation raised. */
  async read(): Promise<SideReport> {
    const { keyspace } = this.#move
    const { mover, counts, tables } = await this.#send('read', {
      mover: statement<MoverRow>(`SELECT step, move_id AS moveId, cursors, (${SCHEMA_VERSION}) AS version FROM mover`),
      counts: statement<SlotCount>(COUNT_STATES, this.#ranges, keyspace),
      tables: statement<ColumnRow>(FIND_TABLES, keyspace),
    })
    const { step, moveId, cursors, version } = onlyRow(mover)
    if (step !== this.#step) throw new Superseded(`${this.shard.id}: another incarnation raised the step`)
    this.#schema = version
    const found = counts.results
    return {
      moveId,
      cursors,
      state: commonState(found, this.#move),
      found,
      schema: version,
      tables: readTables(keyspace, tables.results),
    }
  }

  /** The move's own slots that are in one of these states here. */
  async part(states: SlotState[]): Promise<string[]> {
    const { id, keyspace } = this.#move
    const { found } = await this.batch('part', {
      found: statement<{ slot: string }>(
        `SELECT slot FROM slots WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND move_id = ?3
           AND state IN (SELECT value FROM json_each(?4)) ORDER BY slot`,
        keyspace,
        this.#ranges,
        id,
        JSON.stringify(states),
      ),
    })
    return found.results.map(({ slot }) => slot)
  }

  /**
   * One transaction: the step, then the statements. Resolves to the answers by name. `wantsBookmark` keeps D1's
   * bookmark.
   */
  async batch<Batch extends NamedBatch<Statement>>(
    operation: string,
    batch: Batch,
    wantsBookmark = false,
  ): Promise<AnswersOf<Batch>> {
    const whole = { step: statement<{ version: string }>(STEP, this.#step), statements: statementsOf(batch) }
    const { step, statements } = await this.#send(operation, whole, wantsBookmark)
    this.#step++
    const { version } = onlyRow(step)
    if (version !== this.#schema)
      throw new Interrupted(`${this.shard.id}: a migration was applied (${this.#schema} → ${version})`)
    return answersByName(batch, statements.values())
  }

  /**
   * The statements that bring all of the move's slots from one of these states into another. They abort the batch
   * unless every slot was in one of these states, or already in the new one.
   */
  become(from: SlotState[], to: SlotState, epoch: number | null = null, part = this.whole): Statement[] {
    const { id, keyspace } = this.#move
    return [
      statement(
        `UPDATE slots SET state = ?3, epoch = coalesce(?4, epoch), move_id = ?5
         WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND state IN (SELECT value FROM json_each(?6))
           AND (state = 'active' OR move_id = ?7)`,
        keyspace,
        JSON.stringify(part.ranges),
        to,
        epoch,
        to === 'active' ? null : id,
        JSON.stringify(from),
        id,
      ),
      this.expect(to, part),
    ]
  }

  /**
   * The statements that change the state of this move's slots that are in one of these states. They abort the batch
   * unless none of the move's slots is left in these states. Slots of no move, or of another one, do not change.
   */
  release(from: SlotState[], to: SlotState): Statement[] {
    const { id, keyspace } = this.#move
    return [
      statement(
        `UPDATE slots SET state = ?3, move_id = ?4 WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND move_id = ?5
           AND state IN (SELECT value FROM json_each(?6))`,
        keyspace,
        this.#ranges,
        to,
        to === 'active' ? null : id,
        id,
        JSON.stringify(from),
      ),
      ...from.map((state) => this.#expectNone(state)),
    ]
  }

  /**
   * The statements that add the move's slots here as `importing`. They abort the batch if a slot already has another
   * state.
   */
  arrive(): Statement[] {
    const { id, keyspace, ranges } = this.#move
    return [
      statement(
        `INSERT INTO slots (keyspace, slot, state, epoch, move_id)
         WITH RECURSIVE numbers (slot, last) AS (
           SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1)
           UNION ALL SELECT slot + 1, last FROM numbers WHERE slot < last)
         SELECT ?2, printf('%04x', slot), 'importing', 0, ?3 FROM numbers WHERE true ON CONFLICT DO NOTHING`,
        JSON.stringify(ranges.map(([first, last]) => [slotNumber(first), slotNumber(last)])),
        keyspace,
        id,
      ),
      this.expect('importing'),
    ]
  }

  /** The statements that delete the move's slots that are in this state here. They abort the batch if one is left. */
  leave(from: SlotState): Statement[] {
    const { id, keyspace } = this.#move
    return [
      statement(
        `DELETE FROM slots WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND state = ?3 AND move_id = ?4`,
        keyspace,
        this.#ranges,
        from,
        id,
      ),
      this.#expectNone(from),
    ]
  }

  /** Aborts the batch unless all of these slots are in this state and of this move. */
  expect(state: SlotState, part = this.whole): Statement {
    return this.#expectation(part.ranges, state, state === 'active' ? null : this.#move.id, part.slots)
  }

  /** Aborts the batch if any of the move's slots is in this state. */
  #expectNone(state: SlotState): Statement {
    return this.#expectation(this.#move.ranges, state, this.#move.id, 0)
  }

  #expectation(ranges: SlotRange[], state: SlotState, moveId: string | null, slots: number): Statement {
    return statement(
      'INSERT INTO slot_expectation (keyspace, ranges, state, move_id, slots) VALUES (?, ?, ?, ?, ?)',
      this.#move.keyspace,
      JSON.stringify(ranges),
      state,
      moveId,
      slots,
    )
  }

  /** Describes the move's slots here, for operators. */
  describe(found: SlotCount[]): string {
    const { id, slots } = this.#move
    const whose = ({ state, moveId }: SlotCount) => {
      if (moveId === id) return ''
      if (moveId === null) return state === 'active' ? '' : ' (of no move)'
      return ` (of move ${moveId})`
    }
    const known = found.map((count) => `${count.slots} ${count.state}${whose(count)}`)
    const rest = slots - found.reduce((sum, count) => sum + count.slots, 0)
    const all = rest === 0 ? known : [...known, `${rest} not known`]
    return `${this.shard.id}, of the move's ${slots} slots: ${all.join(', ')}`
  }

  /** Between `open` and `shut` in one batch, a mover may write rows here. No other batch ever sees it open. */
  readonly open = statement('UPDATE mover SET open = 1 WHERE id = 1')
  readonly shut = statement('UPDATE mover SET open = 0 WHERE id = 1')

  async #send<Batch extends NamedBatch<Statement>>(
    operation: string,
    batch: Batch,
    wantsBookmark = false,
  ): Promise<AnswersOf<Batch>> {
    await this.#observer.before(this.shard.id, operation)
    const session = wantsBookmark ? this.#database.withSession('first-primary') : null
    const connection = session ?? this.#database
    try {
      const statements = statementsOf<Statement>(batch)
      const answer = connection.batch(statements.map(({ sql, values }) => connection.prepare(sql).bind(...values)))
      // If the batch arrives late, its step refuses it, because the next incarnation raises the step.
      const answers = await inTime(this.#clock, limits.moveCallMs, answer)
      if (session) this.#bookmark = session.getBookmark()
      return answersByName(batch, answers.values())
    } catch (error) {
      throw interruption(this.shard.id, operation, error)
    }
  }
}

/**
 * Starts every batch. It also returns the schema, because a separate statement would count against the invocation's
 * budget.
 */
const STEP = `INSERT INTO mover_step (expected) VALUES (?) RETURNING (${SCHEMA_VERSION}) AS version`

/** The part of a move that these slots form. The slots must be in order. */
export function partOf(slots: string[]): Part {
  const ranges = rangesOf(slots)
  return { ranges, slots: countSlots(ranges) }
}

/** CROSS JOIN keeps SQLite from scanning every slot of the keyspace (13 ms instead of 20 µs for 16 slots). */
export const slotsInRanges = `SELECT known.slot FROM json_each(?2) AS range CROSS JOIN slots AS known ON known.keyspace = ?1
  AND known.slot BETWEEN json_extract(range.value, '$[0]') AND json_extract(range.value, '$[1]')`

/** `Refused`: the batch cannot apply, now or later. Otherwise the outcome is unknown, and the shards must be read. */
function interruption(shard: string, operation: string, error: unknown): Error {
  const answer = answerOf(error)
  const where = `${operation} at ${shard}`
  if (answer.kind === 'full')
    return new Unwritable(`${shard} has no room left (${operation}: ${messageOf(error)})`, { cause: error })
  if (answer.kind === 'statement' && answer.sqliteCode === 'SQLITE_READONLY')
    return new Unwritable(`${shard} is read-only (${operation}: ${messageOf(error)})`, { cause: error })
  if (
    answer.kind === 'transient' ||
    answer.kind === 'overloaded' ||
    answer.kind === 'daily-limit' ||
    answer.kind === 'unsent'
  )
    return new Interrupted(`${where}: ${messageOf(error)}`, { cause: error })
  if (answer.kind !== 'refused') return new Refused(`${where}: ${messageOf(error)}`, { cause: error })
  if (answer.code === 'STEP_MISMATCH') return new Superseded(`${where}: another incarnation is at work`)
  return new Refused(`${where}: ${answer.code}`, { cause: error })
}
