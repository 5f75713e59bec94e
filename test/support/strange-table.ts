import {
  boundChunkSql,
  boundCountSql,
  chunkReachSql,
  chunkSql,
  countSql,
  isMangled,
  type PackedRows,
  type Packing,
  upsertSql,
} from '../../src/resharding/rows.ts'
import type { MovedTable } from '../../src/resharding/tables.ts'
import { databases } from './sharding-slots.ts'

export const { SHARD_000: source, SHARD_001: target } = databases

/** Columns without types, so that each keeps the storage class of its value. */
export const strange: MovedTable = {
  name: 'strange "table"',
  keyspace: 'users',
  key: ['id', 'part'],
  columns: ['id', 'part', 'value'],
}

/** An empty table in both shards. */
export async function makeStrangeTables(): Promise<void> {
  for (const shard of [source, target])
    await shard.batch([
      shard.prepare('DROP TABLE IF EXISTS "strange ""table"""'),
      shard.prepare(
        'CREATE TABLE "strange ""table""" (id TEXT NOT NULL, part INTEGER NOT NULL, value, PRIMARY KEY (id, part))',
      ),
    ])
}

/** Inserts rows whose values are SQL literals that JavaScript or JSON would change. */
export async function insert(rows: [id: string, part: number, literal: string][], shard = source): Promise<void> {
  await shard.batch(
    rows.map(([id, part, literal]) =>
      shard.prepare(`INSERT INTO "strange ""table""" VALUES (?, ?, ${literal})`).bind(id, part),
    ),
  )
}

/** All rows between two slots, packed. */
export async function pack(packing: Packing, shard = source, first = '0000', after = 'g'): Promise<PackedRows> {
  const statement = shard.prepare(chunkSql(strange, packing, false, 'slots')).bind(first, after, null)
  return (await statement.first<PackedRows>())!
}

/** The next chunk, as a round reads it: its rows and its last key, in one batch. `end` is null after the last row. */
export async function chunk(
  cursor: string | null,
  { rowsMax = 1_000, bytesMax = 1_000_000, first = '0000', after = 'g', packing = 'mixed' as Packing } = {},
): Promise<PackedRows & { end: string | null }> {
  const hasCursor = cursor !== null
  const [, reach, rows] = await source.batch<never>([
    source.prepare(boundChunkSql(strange, hasCursor, rowsMax)).bind(first, after, cursor, bytesMax),
    source.prepare(chunkReachSql(strange)).bind(first, after),
    source.prepare(chunkSql(strange, packing, hasCursor, 'chunk')).bind(first, after, cursor),
  ])
  return { ...(rows!.results[0]! as PackedRows), ...(reach!.results[0]! as { end: string | null }) }
}

/** The next chunk if it is only counted, as a round reads it. */
export async function countChunk(
  cursor: string | null,
  { rowsMax, first, after }: { rowsMax: number; first: string; after: string },
): Promise<{ rows: number; end: string | null }> {
  const hasCursor = cursor !== null
  const [, reach, rows] = await source.batch<never>([
    source.prepare(boundCountSql(strange, hasCursor, rowsMax)).bind(first, after, cursor),
    source.prepare(chunkReachSql(strange)).bind(first, after),
    source.prepare(countSql(strange, hasCursor, 'chunk')).bind(first, after, cursor),
  ])
  return { rows: (rows!.results[0]! as PackedRows).rows, ...(reach!.results[0]! as { end: string | null }) }
}

/** The number of the source's rows after one key, up to another or to the end of the slots. */
export async function countUpTo(
  cursor: string | null,
  end: string | null,
  { first, after }: { first: string; after: string },
): Promise<number> {
  const sql = countSql(strange, cursor !== null, end === null ? 'slots' : 'key')
  const statement = source.prepare(sql).bind(first, after, cursor, ...(end === null ? [] : [end]))
  return (await statement.first<number>('rows'))!
}

/** A shard's rows after one key, up to another or to the end of the slots. */
export async function packUpTo(shard: D1Database, cursor: string | null, end: string | null): Promise<PackedRows> {
  const sql = chunkSql(strange, 'mixed', cursor !== null, end === null ? 'slots' : 'key')
  const statement = shard.prepare(sql).bind('0000', 'g', cursor, ...(end === null ? [] : [end]))
  return (await statement.first<PackedRows>())!
}

export async function write({ plain, tagged }: PackedRows): Promise<void> {
  if (plain !== null) await target.prepare(upsertSql(strange, 'plain')).bind(plain).run()
  if (tagged !== null) await target.prepare(upsertSql(strange, 'tagged')).bind(tagged).run()
}

/** Carries all rows from source to target, like a mover. Resolves to the sent rows. */
export async function carry(): Promise<PackedRows> {
  const mixed = await pack('mixed')
  const sent = isMangled(mixed) ? await pack('tagged') : mixed
  await write(sent)
  return sent
}

/** SQLite's own facts about each value: class, exact bytes, and enough digits to tell any two doubles apart. */
export async function facts(shard: D1Database): Promise<unknown[]> {
  const { results } = await shard
    .prepare(
      `SELECT hex(id) AS id, part || '' AS part, typeof(part) AS partClass, typeof(value) AS class, hex(value) AS bytes,
              format('%!.26g', value) AS digits
       FROM "strange ""table""" ORDER BY id, part`,
    )
    .all()
  return results
}

/** The keys of packed rows, plain ones first. */
export function keysOf({ plain, tagged }: Omit<PackedRows, 'rows'>): [string, number][] {
  const untagged = (text: string) =>
    text.startsWith('i') ? Number(text.slice(1)) : Buffer.from(text.slice(1), 'hex').toString()
  return [
    ...JSON.parse(plain ?? '[]').map(([id, part]: [string, number]) => [id, part]),
    ...JSON.parse(tagged ?? '[]').map(([id, part]: [string, string]) => [untagged(id), untagged(part)]),
  ]
}
