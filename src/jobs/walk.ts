import { messageOf } from '../core/errors.ts'
import type { ShardFailure } from '../sharding/scatter.ts'
import { affordable, type Shards, type ShardVisit, type ShardWindow } from '../sharding/shards.ts'

/** A table of a walk. Its primary key is `id`. */
interface WalkedTable {
  name: string
  columns: string
  /** A further SQL condition on the row, with its values. */
  where?: { sql: string; values: unknown[] }
}

/** The next rows of one shard. */
export interface WalkedRows<Row> {
  shard: ShardVisit
  table: string
  rows: Row[]
  /** Continues behind these rows at the next visit. `rows` may be fewer than were read. */
  advance(rows: Row[]): Promise<void>
}

interface Walk {
  /** The duty whose positions these are. */
  duty: string
  tables: readonly [WalkedTable, ...WalkedTable[]]
  rowsMax: number
  /** What the duty may send for each shard: 3 to read the position and the rows and to keep the position, and its own. */
  statementsPerShard: number
}

const FIND_POSITION = (ownedHere: string) =>
  `SELECT position FROM duty_positions WHERE duty = ? AND shard = ? AND ${ownedHere} ORDER BY id LIMIT 1`

/** Uses the row that the shard has, or puts one into any slot that takes writes. */
const KEEP_POSITION = (ownedHere: string) =>
  `INSERT INTO duty_positions (id, duty, shard, position)
   SELECT coalesce(
     (SELECT id FROM duty_positions WHERE duty = ?1 AND shard = ?2 AND ${ownedHere} ORDER BY id LIMIT 1),
     (SELECT slot FROM slots WHERE keyspace = 'users' AND state = 'active' ORDER BY slot LIMIT 1) || '.' || ?1 || '.' || ?2
   ) AS place, ?1, ?2, ?3 WHERE place IS NOT NULL
   ON CONFLICT (id) DO UPDATE SET position = excluded.position`

/**
 * Reads the next rows of some tables in each shard of the window, one table after another, and then from the start
 * again. For duties that check every row once in a while. Each shard keeps its own position. `failed` are the shards
 * that could not be read.
 */
export async function walk<Row extends { id: string }>(
  shards: Shards,
  { duty, tables, rowsMax, statementsPerShard }: Walk,
  window: ShardWindow,
) {
  return shards.each(
    'users',
    async (shard): Promise<WalkedRows<Row>> => {
      const owned = shard.ownedHere('id')
      const found = await shard.run<{ position: string }>(FIND_POSITION(owned), duty, shard.id)
      const [name = '', after = ''] = (found.results[0]?.position ?? '').split(':')
      const index = Math.max(
        0,
        tables.findIndex((table) => table.name === name),
      )
      const table = tables[index] ?? tables[0]
      const { sql = '1', values = [] } = table.where ?? {}
      const { results } = await shard.run<Row>(
        `SELECT ${table.columns} FROM ${table.name} WHERE id > ? AND ${sql} AND ${owned} ORDER BY id LIMIT ?`,
        after,
        ...values,
        rowsMax,
      )
      const advance = async (rows: Row[]) => {
        const isOver = rows.length === results.length && results.length < rowsMax
        const next = tables[(index + 1) % tables.length] ?? tables[0]
        const position = isOver ? `${next.name}:` : `${table.name}:${rows.at(-1)?.id ?? after}`
        await shard.run(KEEP_POSITION(owned), duty, shard.id, position)
      }
      return { shard, table: table.name, rows: results, advance }
    },
    affordable(window, statementsPerShard),
  )
}

/** The sum of what the visits' work resolves to. A shard that refuses it, such as a full one, holds up no other. */
export async function workOff<Row>(
  visits: WalkedRows<Row>[],
  work: (visit: WalkedRows<Row>) => Promise<number>,
  onFailure: (failure: ShardFailure) => void,
): Promise<number> {
  let sum = 0
  for (const visit of visits) {
    try {
      sum += await work(visit)
    } catch (error) {
      onFailure({ shard: visit.shard.id, error: messageOf(error) })
    }
  }
  return sum
}

/** The first rows whose weights sum to at most `max`, and at least one row. */
export function upTo<Row>(rows: Row[], max: number, weightOf: (row: Row) => number): Row[] {
  let sum = 0
  const end = rows.findIndex((row, index) => {
    sum += weightOf(row)
    return index > 0 && sum > max
  })
  return end < 0 ? rows : rows.slice(0, end)
}
