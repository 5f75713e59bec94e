import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
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
} from '../../../src/resharding/rows.ts'
import { FIND_TABLES, type MovedTable, readTables } from '../../../src/resharding/tables.ts'

const { SHARD_000: source, SHARD_001: target } = env as unknown as Record<'SHARD_000' | 'SHARD_001', D1Database>

/** Without types, so that a column keeps whatever storage class it is given. */
const strange: MovedTable = {
  name: 'strange "table"',
  keyspace: 'users',
  key: ['id', 'part'],
  columns: ['id', 'part', 'value'],
}
const BYTES_MAX = 600_000

beforeEach(async () => {
  for (const shard of [source, target])
    await shard.batch([
      shard.prepare('DROP TABLE IF EXISTS "strange ""table"""'),
      shard.prepare(
        'CREATE TABLE "strange ""table""" (id TEXT NOT NULL, part INTEGER NOT NULL, value, PRIMARY KEY (id, part))',
      ),
      shard.prepare('DELETE FROM slot_changes'),
    ])
})

/** The next stretch, as a round reads it: where it ends, and its rows, in one batch. */
async function stretch(cursor: string | null, rowsMax = 1_000, bytesMax = BYTES_MAX, packing: Packing = 'mixed') {
  const hasCursor = cursor !== null
  const [, reach, rows] = await source.batch<never>([
    source.prepare(boundStretchSql(strange, hasCursor, rowsMax)).bind('0000', 'g', cursor, bytesMax),
    source.prepare(stretchReachSql(strange)).bind('0000', 'g'),
    source.prepare(stretchSql(strange, packing, hasCursor, 'stretch')).bind('0000', 'g', cursor),
  ])
  return { end: (reach!.results[0]! as { end: string | null }).end, rows: rows!.results[0]! as PackedRows }
}

async function write({ plain, tagged }: PackedRows): Promise<void> {
  if (plain) await target.prepare(upsertSql(strange, 'plain')).bind(plain).run()
  if (tagged) await target.prepare(upsertSql(strange, 'tagged')).bind(tagged).run()
}

/** As a carrier does: packed anew, all tagged, where JavaScript would have changed something. */
async function carry(): Promise<PackedRows> {
  const { rows } = await stretch(null)
  const exact = isMangled(rows) ? (await stretch(null, 1_000, BYTES_MAX, 'tagged')).rows : rows
  await write(exact)
  return exact
}

const insert = (literal: string, id = '0000a') =>
  source.prepare(`INSERT INTO "strange ""table""" VALUES (?, 1, ${literal})`).bind(id).run()

/** What SQLite itself says of each value: class, exact bytes, and enough digits to tell any two doubles apart. */
async function facts(shard: D1Database): Promise<unknown[]> {
  const { results } = await shard
    .prepare(
      `SELECT hex(id) AS id, part || '' AS part, typeof(value) AS class, hex(value) AS bytes, format('%!.26g', value) AS digits
       FROM "strange ""table""" ORDER BY id, part`,
    )
    .all()
  return results
}

/** SQL literals: values that JavaScript or JSON would change, and the plain ones; and how each travels. */
const values: Record<string, [string, 'plain' | 'tagged']> = {
  'the largest integer': ['9223372036854775807', 'tagged'],
  'the smallest integer': ['(-9223372036854775807 - 1)', 'tagged'],
  'an integer past 2^53': ['9007199254740993', 'tagged'],
  'the last exact integer': ['9007199254740991', 'plain'],
  'a REAL that is a whole number': ['1.0', 'tagged'],
  'a third': ['1.0 / 3.0', 'tagged'],
  'the smallest REAL above 1': ['1.0000000000000002', 'tagged'],
  'the largest REAL': ['1.7976931348623157e308', 'tagged'],
  'the smallest REAL': ['2.2250738585072014e-308', 'tagged'],
  'a negative zero': ['-0.0', 'tagged'],
  infinity: ['9e999', 'tagged'],
  'negative infinity': ['-9e999', 'tagged'],
  NULL: ['NULL', 'plain'],
  'empty text': ["''", 'plain'],
  emoji: ["'🌳👩‍👩‍👧‍👦'", 'tagged'],
  'text that looks like a number': ["'007'", 'plain'],
  'text with a NUL': ["'a' || char(0) || 'b'", 'tagged'],
  'text that is not UTF-8': ["CAST(x'ff00fe' AS TEXT)", 'tagged'],
  'a lone lead byte': ["CAST(x'c328' AS TEXT)", 'tagged'],
  'U+FFFD itself': ['char(65533)', 'tagged'],
  'quotes and backslashes': [`'"\\'' ]}'`, 'plain'],
  'control characters': ['char(1, 8, 10, 13, 27, 31, 127)', 'plain'],
  'an empty blob': ["x''", 'tagged'],
  'a blob': ["x'00ff10'", 'tagged'],
  'a row of 256 KB': ["printf('%.250000c', 'x')", 'plain'],
}

test.each(Object.entries(values))('%s arrives as it left', async (_, [literal, form]) => {
  await insert(literal)
  const carried = await carry()
  expect(carried.rows).toBe(1)
  expect(carried.plain !== null).toBe(form === 'plain')
  expect(carried.tagged !== null).toBe(form === 'tagged')
  expect(await facts(target)).toEqual(await facts(source))
  expect(await facts(target)).toHaveLength(1)
})

test('plain text that JavaScript would change is recognised', async () => {
  await insert("CAST(x'ff' AS TEXT)")
  expect(isMangled((await stretch(null)).rows)).toBe(true)
  expect(isMangled((await stretch(null, 10, BYTES_MAX, 'tagged')).rows)).toBe(false)
})

test('a thousand doubles of any size arrive bit for bit', async () => {
  const bits = crypto.getRandomValues(new BigUint64Array(1_000))
  const doubles = [...new Float64Array(bits.buffer)].filter(Number.isFinite)
  await source
    .prepare(`INSERT INTO "strange ""table""" SELECT '0000', key, value FROM json_each(?)`)
    .bind(JSON.stringify(doubles))
    .run()
  await carry()
  expect(await facts(target)).toEqual(await facts(source))
})

test('a row that is there already is made equal, also to NULL', async () => {
  await insert('NULL')
  await target.prepare(`INSERT INTO "strange ""table""" VALUES ('0000a', 1, 'old'), ('0000b', 1, 'stays')`).run()
  await carry()
  expect((await facts(target)).slice(0, 1)).toEqual(await facts(source))
  expect(await facts(target)).toHaveLength(2)
})

describe('keys that sort oddly', () => {
  const ids = [
    '0000',
    '0000 ',
    '0000A',
    '0000a',
    '0000ä',
    '0000\u{10000}',
    '0000\uffff',
    '00010',
    '0001',
    'ffffz',
    '0000\'"\\',
  ]
  const keysIn = ({ plain, tagged }: PackedRows): string[] =>
    [plain, tagged].flatMap((text) => JSON.parse(text ?? '[]'))

  async function walk(rowsMax: number, bytesMax: number): Promise<number[]> {
    const sizes: number[] = []
    for (let cursor: string | null = null; ; ) {
      const { end, rows } = await stretch(cursor, rowsMax, bytesMax)
      await write(rows)
      sizes.push(rows.rows)
      if (end === null) return sizes
      cursor = end
    }
  }

  async function fill(value = 'x'): Promise<void> {
    const rows = ids.flatMap((id) => [-1, 2, 10, 9007199254740991].map((part) => [id, part, value]))
    await source
      .prepare(
        `INSERT INTO "strange ""table""" SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)`,
      )
      .bind(JSON.stringify(rows))
      .run()
  }

  test('are walked in stretches by rows, each exactly once', async () => {
    await fill()
    const sizes = await walk(3, BYTES_MAX)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ids.length * 4)
    expect(Math.max(...sizes)).toBe(3)
    expect(await facts(target)).toEqual(await facts(source))
  })

  test('and by bytes; a row that alone is larger comes alone', async () => {
    await fill('y'.repeat(1_000))
    const sizes = await walk(1_000, 2_500)
    expect(Math.max(...sizes)).toBe(2)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ids.length * 4)
    expect(Math.max(...(await walk(1_000, 10)))).toBe(1)
    expect(await facts(target)).toEqual(await facts(source))
  })

  test('a stretch holds the rows of its slots only', async () => {
    await fill()
    const { results } = await source
      .prepare(stretchSql(strange, 'mixed', false, 'slots'))
      .bind('0001', '0002', null)
      .all<PackedRows>()
    const found = keysIn(results[0]!).map(([id]) => id)
    expect([...new Set(found)].sort()).toEqual(['0001', '00010'])
  })

  test('the target reads the same stretch up to the key at which the source ended', async () => {
    await fill()
    await carry()
    const { end, rows } = await stretch(null, 7)
    const { results } = await target
      .prepare(stretchSql(strange, 'mixed', false, 'key'))
      .bind('0000', 'g', null, end)
      .all<PackedRows>()
    expect(results[0]).toEqual(rows)
    expect(rows.rows).toBe(7)
  })

  test('are found and deleted by the key that the capture wrote', async () => {
    await fill()
    const some = '[["0000",-1],["0000ä",10],["0000 gone",1]]'
    const { results } = await source.prepare(namedSql(strange, 'mixed')).bind(some).all<PackedRows>()
    expect(results[0]!.rows).toBe(2)
    await source.prepare(deleteSql(strange)).bind(some).run()
    expect(await facts(source)).toHaveLength(ids.length * 4 - 2)
  })
})

test('rows of several ranges are counted, and deleted a few at a time', async () => {
  for (const id of ['0000a', '0001a', '0001b', '0002a', '0003a', '0003b', '0004a']) await insert('1', id)
  const ranges = '[["0001","0002"],["0003","0004"]]'
  const count = async () => (await source.prepare(countSql(strange)).bind(ranges).first<number>('rows'))!
  expect(await count()).toBe(4)
  await source.prepare(purgeSql(strange, 3)).bind(ranges).run()
  expect(await count()).toBe(1)
  await source.prepare(purgeSql(strange, 3)).bind(ranges).run()
  expect(await count()).toBe(0)
  expect(await facts(source)).toHaveLength(3)
})

describe('the tail', () => {
  const change = (key: string, move = 'move-1', table = strange.name) =>
    source.prepare('INSERT INTO slot_changes (move_id, tbl, pk) VALUES (?, ?, ?)').bind(move, table, key).run()

  async function tail(seq: number, rowsMax = 100, bytesMax = BYTES_MAX) {
    const answers = await source.batch<never>([
      source.prepare(boundTailSql([strange], rowsMax)).bind('move-1', seq, bytesMax),
      source.prepare(TAIL_REACH).bind('move-1', seq),
      source.prepare(tailSql(strange, 'mixed')).bind('move-1', seq),
    ])
    const reach = answers[1]!.results[0]! as { seq: number; changes: number; waiting: number }
    const { keys, rows, plain } = answers[2]!.results[0]! as PackedRows & { keys: string | null }
    return { ...reach, keys: JSON.parse(keys ?? 'null'), rows, plain: JSON.parse(plain ?? 'null') }
  }

  test('names changed and deleted rows once, as they are now, and no other move’s', async () => {
    await insert("'new'", '0000a')
    await change('["0000a",1]')
    await change('["0000gone",1]')
    await change('["0000a",1]', 'move-2')
    await change('["0000a",1]')
    const first = await source.prepare('SELECT min(seq) AS seq FROM slot_changes').first<number>('seq')
    const found = await tail(first! - 1)
    expect(found).toMatchObject({ changes: 3, waiting: 0, rows: 1, plain: [['0000a', 1, 'new']] })
    expect(found.keys.sort()).toEqual([
      ['0000a', 1],
      ['0000gone', 1],
    ])
    expect(await tail(found.seq)).toMatchObject({ seq: found.seq, changes: 0, waiting: 0, keys: null, rows: 0 })
  })

  test('is bounded by changes and by bytes, and says how many wait', async () => {
    for (const id of ['0000a', '0000b', '0000c', '0000d']) {
      await insert("printf('%.1000c', 'x')", id)
      await change(`["${id}",1]`)
    }
    const first = (await source.prepare('SELECT min(seq) AS seq FROM slot_changes').first<number>('seq'))!
    expect(await tail(first - 1, 3)).toMatchObject({ seq: first + 2, changes: 3, waiting: 1, rows: 3 })
    expect(await tail(first - 1, 100, 2_500)).toMatchObject({ changes: 2, waiting: 2, rows: 2 })
    expect(await tail(first - 1, 100, 1)).toMatchObject({ changes: 1, waiting: 3, rows: 1 })
    expect(await tail(first + 2)).toMatchObject({ changes: 1, waiting: 0, rows: 1 })
  })

  test('an integer in a key is found, though D1 binds JavaScript’s numbers as REAL', async () => {
    await source.prepare('INSERT INTO "strange ""table""" VALUES (?, ?, ?)').bind('0000a', 7, 'x').run()
    const { results } = await source
      .prepare('SELECT json_array(id, part) AS key FROM "strange ""table"""')
      .all<{ key: string }>()
    expect(results).toEqual([{ key: '["0000a",7]' }])
    await change(results[0]!.key)
    const first = (await source.prepare('SELECT min(seq) AS seq FROM slot_changes').first<number>('seq'))!
    expect(await tail(first - 1)).toMatchObject({ rows: 1, plain: [['0000a', 7, 'x']] })
  })
})

test('the tables of each keyspace are found in the shard itself, with keys and columns in order', async () => {
  const find = async (keyspace: 'users' | 'claims') =>
    readTables(keyspace, (await source.prepare(FIND_TABLES).bind(keyspace).all<never>()).results)
  const users = await find('users')
  expect((await find('claims')).map(({ name }) => name)).toEqual(['claim_inbox', 'claims'])
  expect(users.map(({ name }) => name)).toEqual([
    'accounts',
    'claim_attempts',
    'dead_letters',
    'idempotency_keys',
    'inbox',
    'mail_tokens',
    'outbox',
    'posts',
    'profiles',
    'sessions',
  ])
  expect(users.find(({ name }) => name === 'posts')).toEqual({
    name: 'posts',
    keyspace: 'users',
    key: ['id'],
    columns: ['id', 'author_id', 'text', 'created_at', 'edited_at', 'version'],
  })
})
