import { present } from '../core/present.ts'
import type { DirectoryStorage } from '../sharding/directory-storage.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { isOver, type MoveRecord, type SlotRange, withNotes } from './record.ts'

/**
 * How a move uses the lanes of its shards. `held`: it holds them. `planned`: it waits for them. `settled`: it waits for
 * them from `settlesAt` on. `none`: it keeps no other move waiting, for example because it is stuck. Null: it has
 * ended.
 */
export type LaneUse = 'held' | 'planned' | 'settled' | 'none'

/** An open move, as an index stores it. Numbers rise in the order of planning. */
export interface LaneRow {
  number: number
  lane: LaneUse
  source: string
  target: string
  settlesAt: number | null
}

/** The slots that an open move holds. */
export interface SlotHold extends Pick<MoveRecord, 'id' | 'state' | 'ending'> {
  number: number
  target: string
  ranges: SlotRange[]
}

const text = (path: string) => `json_extract(record, '$.${path}')`

/**
 * Columns that SQLite computes from the record. They are virtual, so the record stays authoritative. Older storage
 * needs no backfill, and a version that does not know the columns cannot leave stale values behind.
 */
const columns = {
  keyspace: text('keyspace'),
  source: text('source.id'),
  target: text('target.id'),
  lane: `CASE WHEN ${text('state')} IN ('done', 'aborted', 'failed') THEN NULL WHEN ${text('hasLanes')} THEN 'held'
    WHEN ${text('stuck')} IS NOT NULL THEN 'none' WHEN ${text('state')} = 'planned' THEN 'planned' WHEN ${text('state')} IN ('settling', 'purging') THEN 'settled' ELSE 'none' END`,
  settles_at: text('settlesAt'),
  committed_at: text('committedAt'),
}

/** Each but the last indexes only open moves, however long the history is. Queries need nothing else. */
const indexes = {
  moves_open: '(number) WHERE is_over = 0',
  moves_by_lane: '(lane, settles_at, number, source, target) WHERE lane IS NOT NULL',
  moves_by_source: '(source, lane, settles_at, number, target) WHERE lane IS NOT NULL',
  moves_by_target: '(target, lane, settles_at, number, source) WHERE lane IS NOT NULL',
  moves_by_keyspace: '(keyspace, number) WHERE lane IS NOT NULL',
  moves_left: '(source, committed_at) WHERE committed_at IS NOT NULL',
}

const LANE_ROW = 'number, lane, source, target, settles_at AS settlesAt'

/** The moves in the directory's storage: one row per move, with its record as JSON. */
export class MoveTable {
  readonly #storage: DirectoryStorage

  constructor(storage: DirectoryStorage) {
    this.#storage = storage
    storage.rows(
      `CREATE TABLE IF NOT EXISTS moves (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
       is_over INTEGER NOT NULL, record TEXT NOT NULL)`,
    )
    const [found] = storage.rows<{ sql: string }>("SELECT sql FROM sqlite_master WHERE name = 'moves'")
    const { sql } = present(found, 'the table that was just created')
    for (const [name, expression] of Object.entries(columns))
      if (!sql.includes(`${name} AS (`)) storage.rows(`ALTER TABLE moves ADD COLUMN ${name} AS (${expression})`)
    for (const [name, on] of Object.entries(indexes)) storage.rows(`CREATE INDEX IF NOT EXISTS ${name} ON moves ${on}`)
    // An index of the previous version.
    storage.rows('DROP INDEX IF EXISTS moves_committed')
  }

  find(id: string): MoveRecord | null {
    return this.#read('id = ?', id)[0] ?? null
  }

  get(number: number): MoveRecord {
    return present(this.#read('number = ?', number)[0], `the move with the number ${number}`)
  }

  /** Newest first. `before` is the id of the previous page's last move. */
  list({ limit, before }: { limit: number; before: string | null }): MoveRecord[] {
    return this.#read(
      'number < coalesce((SELECT number FROM moves WHERE id = ?), 9e18) ORDER BY number DESC LIMIT ?',
      before,
      limit,
    )
  }

  /** All open moves, oldest first. For display, not for decisions. There may be thousands. */
  open(): MoveRecord[] {
    return this.#read('is_over = 0 ORDER BY number')
  }

  firstOpen(): MoveRecord | null {
    return this.#read('is_over = 0 ORDER BY number LIMIT 1')[0] ?? null
  }

  /** Open moves from or to the shard, oldest first. `lanes` selects by how a move uses the shard's lane. */
  openAt(shard: string, { lanes = LANE_USES, limit = -1 }: { lanes?: readonly LaneUse[]; limit?: number } = {}) {
    return this.#read(
      `number IN (SELECT number FROM moves WHERE source = ?1 AND lane IN (SELECT value FROM json_each(?2))
       UNION SELECT number FROM moves WHERE target = ?1 AND lane IN (SELECT value FROM json_each(?2))
       ORDER BY number LIMIT ?3) ORDER BY number`,
      shard,
      JSON.stringify(lanes),
      limit,
    )
  }

  /** The oldest planned moves for which the shard has this role. */
  plannedAt(role: 'source' | 'target', shard: string, limit: number): MoveRecord[] {
    return this.#read(`${role} = ? AND lane = 'planned' AND settles_at IS NULL ORDER BY number LIMIT ?`, shard, limit)
  }

  /** Moves whose commit took slots from the shard after `since` (ms). */
  leftSince(shard: string, since: number): MoveRecord[] {
    return this.#read('source = ? AND committed_at > ?', shard, since)
  }

  /** The slots of a keyspace that open moves hold. */
  holds(keyspace: Keyspace): SlotHold[] {
    return this.#storage
      .rows<Omit<SlotHold, 'ranges'> & { ranges: string }>(
        `SELECT number, id, target, ${text('state')} AS state, ${text('ending')} AS ending, ${text('ranges')} AS ranges
         FROM moves WHERE lane IS NOT NULL AND keyspace = ? ORDER BY number`,
        keyspace,
      )
      .map((hold) => ({ ...hold, ranges: JSON.parse(hold.ranges) as SlotRange[] }))
  }

  insert(record: MoveRecord): number {
    const [row] = this.#storage.rows<{ number: number }>(
      'INSERT INTO moves (id, is_over, record) VALUES (?, 0, ?) RETURNING number',
      record.id,
      JSON.stringify(record),
    )
    return present(row, 'the number of a new move').number
  }

  /** Returns how the move used its shards' lanes before this update, and how it uses them now. */
  update(record: MoveRecord): { number: number; before: LaneUse | null; after: LaneUse | null } {
    const [before] = this.#storage.rows<{ lane: LaneUse | null }>('SELECT lane FROM moves WHERE id = ?', record.id)
    const [after] = this.#storage.rows<{ number: number; lane: LaneUse | null }>(
      'UPDATE moves SET record = ?, is_over = ? WHERE id = ? RETURNING number, lane',
      JSON.stringify(record),
      isOver(record) ? 1 : 0,
      record.id,
    )
    const { number, lane } = present(after, `the move ${record.id}`)
    return { number, before: before?.lane ?? null, after: lane }
  }

  // ── lanes ─────────────────────────────────────────────────────────────────────────────────────

  laneHolder(shard: string): LaneRow | null {
    return this.#first(`lane = 'held'`, shard)
  }

  /** True if a settled move waits for the shard's lane. */
  hasDue(shard: string, now: number): boolean {
    return this.#first(`lane = 'settled' AND settles_at <= ?2`, shard, now) !== null
  }

  /** Settled moves that wait for the lane of one of the shards, earliest settled first. */
  dueAt(shards: string[], now: number, limit: number): LaneRow[] {
    return this.#at(`lane = 'settled' AND settles_at <= ?2`, 'ORDER BY settles_at, number LIMIT ?3', shards, now, limit)
  }

  /** Planned moves at one of the shards, oldest first, from the number after `after`. */
  waitingAt(shards: string[], after: number, limit: number): LaneRow[] {
    const where = `lane = 'planned' AND settles_at IS NULL AND number > ?2`
    return this.#at(where, 'ORDER BY number LIMIT ?3', shards, after, limit)
  }

  /** All open moves, read from one index. */
  lanes(): LaneRow[] {
    return this.#storage.rows<LaneRow>(
      `SELECT ${LANE_ROW} FROM moves WHERE lane IS NOT NULL ORDER BY lane, settles_at, number`,
    )
  }

  /** Moves that hold lanes, or whose state is in no lane queue. */
  working(): { number: number; id: string; lane: 'held' | 'none' }[] {
    return this.#storage.rows("SELECT number, id, lane FROM moves WHERE lane IN ('held', 'none') ORDER BY number")
  }

  countPlanned(shards: string[]): number {
    return this.#at("lane = 'planned'", '', shards).length
  }

  #first(where: string, shard: string, ...values: number[]): LaneRow | null {
    const select = (role: string) =>
      `SELECT * FROM (SELECT ${LANE_ROW} FROM moves WHERE ${role} = ?1 AND ${where} LIMIT 1)`
    const [row] = this.#storage.rows<LaneRow>(
      `${select('source')} UNION ALL ${select('target')} LIMIT 1`,
      shard,
      ...values,
    )
    return row ?? null
  }

  #at(where: string, order: string, shards: string[], ...values: number[]): LaneRow[] {
    const select = (role: string) =>
      `SELECT ${LANE_ROW} FROM moves WHERE ${role} IN (SELECT value FROM json_each(?1)) AND ${where}`
    return this.#storage.rows<LaneRow>(
      `${select('source')} UNION ${select('target')} ${order}`,
      JSON.stringify(shards),
      ...values,
    )
  }

  #read(where: string, ...values: (string | number | null)[]): MoveRecord[] {
    return this.#storage
      .rows<{ record: string }>(`SELECT record FROM moves WHERE ${where}`, ...values)
      .map(({ record }) => readRecord(record))
  }
}

const LANE_USES: readonly LaneUse[] = ['held', 'planned', 'settled', 'none']

/**
 * Records from before 29 November 2026 do not count given-up attempts. Records from before the 24th name their
 * reversals `turns`, or have none. Records from before the 30th have no estimated bytes.
 */
function readRecord(record: string): MoveRecord {
  const { turns, ...read } = JSON.parse(record) as MoveRecord & { turns?: number }
  const { reversals = turns ?? 0, attemptsGivenUp = 0, attemptIsFor = 'fence', bytesEstimated = null } = read
  return withNotes({ ...read, reversals, attemptsGivenUp, attemptIsFor, bytesEstimated })
}
