import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { chunkSql, deleteSql, jsonParameter, namedSql, upsertSql } from '../../../src/resharding/rows.ts'
import { FIND_TABLES, type MovedTable, readTables } from '../../../src/resharding/tables.ts'

const { SHARD_000: source, SHARD_001: target } = env as unknown as Record<'SHARD_000' | 'SHARD_001', D1Database>

/** Without types, so that a column keeps whatever storage class it is given. */
const strange: MovedTable = {
  name: 'strange "table"',
  keyspace: 'users',
  key: ['id', 'part'],
  columns: ['id', 'part', 'value'],
}

interface Encoded {
  key: string
  row: string
}

beforeEach(async () => {
  for (const shard of [source, target])
    await shard.batch([
      shard.prepare('DROP TABLE IF EXISTS "strange ""table"""'),
      shard.prepare(
        'CREATE TABLE "strange ""table""" (id TEXT NOT NULL, part INTEGER NOT NULL, value, PRIMARY KEY (id, part))',
      ),
    ])
})

async function read(shard: D1Database, cursor: string | null = null, limit = 1_000): Promise<Encoded[]> {
  const { results } = await shard.prepare(chunkSql(strange)).bind('0000', 'g', cursor, limit).all<Encoded>()
  return results
}

const write = (rows: Encoded[]) =>
  target
    .prepare(upsertSql(strange))
    .bind(jsonParameter(rows.map(({ row }) => row)))
    .run()

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

/** SQL literals: values that JavaScript or JSON would change, and the plain ones. */
const values = {
  'the largest integer': '9223372036854775807',
  'the smallest integer': '(-9223372036854775807 - 1)',
  'an integer past 2^53': '9007199254740993',
  'a REAL that is a whole number': '1.0',
  'a third': '1.0 / 3.0',
  'the smallest REAL above 1': '1.0000000000000002',
  'the largest REAL': '1.7976931348623157e308',
  'the smallest REAL': '2.2250738585072014e-308',
  'a negative zero': '-0.0',
  infinity: '9e999',
  'negative infinity': '-9e999',
  NULL: 'NULL',
  'empty text': "''",
  emoji: "'🌳👩‍👩‍👧‍👦'",
  'text that looks like a number': "'007'",
  'text with a NUL': "'a' || char(0) || 'b'",
  'text that is not UTF-8': "CAST(x'ff00fe' AS TEXT)",
  'quotes and backslashes': `'"\\'' ]}'`,
  'an empty blob': "x''",
  'a blob': "x'00ff10'",
}

test.each(Object.entries(values))('%s arrives as it left', async (_, literal) => {
  await source.prepare(`INSERT INTO "strange ""table""" VALUES ('0000a', 1, ${literal})`).run()
  await write(await read(source))
  expect(await facts(target)).toEqual(await facts(source))
  expect(await facts(target)).toHaveLength(1)
})

test('a thousand doubles of any size arrive bit for bit', async () => {
  const bits = crypto.getRandomValues(new BigUint64Array(1_000))
  const doubles = [...new Float64Array(bits.buffer)].filter(Number.isFinite)
  await source
    .prepare(`INSERT INTO "strange ""table""" SELECT '0000', key, value FROM json_each(?)`)
    .bind(JSON.stringify(doubles))
    .run()
  await write(await read(source))
  expect(await facts(target)).toEqual(await facts(source))
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

  test('are walked in chunks, each exactly once, in SQLite’s own order', async () => {
    for (const id of ids)
      for (const part of [-1, 2, 10, 9007199254740991])
        await source.prepare(`INSERT INTO "strange ""table""" VALUES (?, ?, 'x')`).bind(id, part).run()
    const walked: string[] = []
    for (let cursor: string | null = null, chunk = await read(source, cursor, 3); chunk.length > 0; ) {
      walked.push(...chunk.map(({ key }) => key))
      cursor = chunk.at(-1)!.key
      chunk = await read(source, cursor, 3)
    }
    const { results } = await source
      .prepare('SELECT json_array(id, part) AS key FROM "strange ""table""" ORDER BY id, part')
      .all<{ key: string }>()
    expect(walked).toEqual(results.map(({ key }) => key))
    expect(walked).toHaveLength(ids.length * 4)
  })

  test('a chunk holds the rows of its slots only', async () => {
    for (const id of ids) await source.prepare(`INSERT INTO "strange ""table""" VALUES (?, 1, 'x')`).bind(id).run()
    const { results } = await source.prepare(chunkSql(strange)).bind('0001', '0002', null, 100).all<Encoded>()
    expect(results.map(({ key }) => JSON.parse(key)[0]).sort()).toEqual(['0001', '00010'])
  })

  test('are found and deleted by the key that the capture wrote', async () => {
    for (const id of ids) await source.prepare(`INSERT INTO "strange ""table""" VALUES (?, 1, 'x')`).bind(id).run()
    const all = await read(source)
    const some = [all[1]!.key, all[4]!.key, '["0000 gone",1]']
    const found = await source.prepare(namedSql(strange)).bind(jsonParameter(some)).all<Encoded>()
    expect(found.results).toEqual([all[1], all[4]])
    await source.prepare(deleteSql(strange)).bind(jsonParameter(some)).run()
    expect(await read(source)).toEqual(all.filter(({ key }) => !some.includes(key)))
  })
})

test('a row that is there already is made equal, also to NULL', async () => {
  await source.prepare(`INSERT INTO "strange ""table""" VALUES ('0000a', 1, NULL)`).run()
  await target.prepare(`INSERT INTO "strange ""table""" VALUES ('0000a', 1, 'old'), ('0000b', 1, 'stays')`).run()
  await write(await read(source))
  expect((await facts(target)).slice(0, 1)).toEqual(await facts(source))
  expect(await facts(target)).toHaveLength(2)
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
