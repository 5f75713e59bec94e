import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { deleteSql, isMangled, namedSql, type PackedRows, upsertSql } from '../../../src/resharding/rows.ts'
import { FIND_TABLES, readTables } from '../../../src/resharding/tables.ts'
import {
  carry,
  facts,
  insert,
  keysOf,
  makeStrangeTables,
  pack,
  source,
  strange,
  target,
  write,
} from '../../support/strange-table.ts'

beforeEach(makeStrangeTables)

/** SQL literals, and how each travels: values that JavaScript or JSON would change, and plain ones. */
const values: Record<string, [literal: string, form: 'plain' | 'tagged']> = {
  'a small integer': ['-7', 'plain'],
  'the largest integer of JavaScript': ['9007199254740991', 'plain'],
  'an integer past 2^53': ['9007199254740993', 'tagged'],
  'the largest integer': ['9223372036854775807', 'tagged'],
  'the smallest integer': ['(-9223372036854775807 - 1)', 'tagged'],
  'a REAL that is a whole number': ['1.0', 'tagged'],
  'a third': ['1.0 / 3.0', 'tagged'],
  'the smallest REAL above 1': ['1.0000000000000002', 'tagged'],
  'the largest REAL': ['1.7976931348623157e308', 'tagged'],
  'the smallest REAL': ['2.2250738585072014e-308', 'tagged'],
  'a subnormal REAL': ['5e-324', 'tagged'],
  'a negative zero': ['-0.0', 'tagged'],
  infinity: ['9e999', 'tagged'],
  'negative infinity': ['-9e999', 'tagged'],
  NULL: ['NULL', 'plain'],
  'empty text': ["''", 'plain'],
  emoji: ["'🌳👩‍👩‍👧‍👦'", 'tagged'],
  'text that looks like a number': ["'007'", 'plain'],
  'text that looks tagged': ["'t00'", 'plain'],
  'text with a NUL': ["'a' || char(0) || 'b'", 'tagged'],
  'text that is a NUL': ['char(0)', 'tagged'],
  'the replacement character': ['char(65533)', 'tagged'],
  'text that is not UTF-8': ["CAST(x'ff00fe' AS TEXT)", 'tagged'],
  'a lead byte alone': ["CAST(x'c328' AS TEXT)", 'tagged'],
  'quotes and backslashes': [`'"\\'' ]}'`, 'plain'],
  'control characters': ['char(1, 9, 10, 13, 31, 127)', 'plain'],
  'an empty blob': ["x''", 'tagged'],
  'a blob': ["x'00ff10'", 'tagged'],
}

test.each(Object.entries(values))('%s arrives unchanged', async (_, [literal, form]) => {
  await insert([['0000a', 1, literal]])
  const { rows, plain, tagged } = await carry()
  expect([rows, plain === null, tagged === null]).toEqual([1, form === 'tagged', form === 'plain'])
  expect(await facts(target)).toEqual(await facts(source))
  expect(await facts(target)).toHaveLength(1)
})

test('all of them also arrive if no row is plain, over existing rows', async () => {
  const all = Object.values(values).map(([literal], part) => ['0000a', part, literal] as [string, number, string])
  await insert(all)
  await insert([['0000a', 3, "'old'"]], target)
  const sent = await pack('tagged')
  expect(sent).toMatchObject({ rows: all.length, plain: null })
  expect(isMangled(sent)).toBe(false)
  await write(sent)
  expect(await facts(target)).toEqual(await facts(source))
})

test('rows of both forms together each arrive once', async () => {
  await insert([
    ['0000a', 1, "'plain'"],
    ['0000a', 2, '0.5'],
    ['0000b', 1, 'NULL'],
    ['0000ä', 1, "'a key that isn’t ASCII'"],
  ])
  const sent = await carry()
  expect(sent).toEqual({
    rows: 4,
    plain: '[["0000a",1,"plain"],["0000b",1,null]]',
    tagged: expect.stringMatching(/^\[\["t3030303061","i2","r0.5"\],/),
  })
  expect(await facts(target)).toEqual(await facts(source))
})

test('a thousand doubles of any size arrive bit by bit', async () => {
  const bits = crypto.getRandomValues(new BigUint64Array(1_000))
  const doubles = [...new Float64Array(bits.buffer)].filter(Number.isFinite)
  await source
    .prepare(`INSERT INTO "strange ""table""" SELECT '0000', key, CAST(value AS REAL) FROM json_each(?)`)
    .bind(JSON.stringify(doubles))
    .run()
  expect(await carry()).toMatchObject({ rows: doubles.length, plain: null })
  expect(await facts(target)).toEqual(await facts(source))
})

test('integers around every power of two arrive', async () => {
  const integers = Array.from({ length: 64 }, (_, power) => 2n ** BigInt(power)).flatMap((n) => [n - 1n, -n])
  await insert(integers.map((integer, part) => ['0000', part, integer === -(2n ** 63n) ? '1 << 63' : String(integer)]))
  await carry()
  expect(await facts(target)).toEqual(await facts(source))
  const { results } = await target.prepare(`SELECT value || '' AS digits FROM "strange ""table""" ORDER BY part`).all()
  expect(results).toEqual(integers.map((integer) => ({ digits: String(integer) })))
})

describe('text that SQL treats as plain, but JavaScript would change', () => {
  // As many characters as bytes in SQLite, but U+FFFD in JavaScript.
  const notUtf8 = ["CAST(x'ff' AS TEXT)", "CAST(x'61ff62' AS TEXT)", "CAST(x'c0' AS TEXT)", "CAST(x'80' AS TEXT)"]

  test.each(notUtf8)('%s is detected, and arrives tagged', async (literal) => {
    await insert([
      ['0000a', 1, literal],
      ['0000a', 2, "'plain'"],
    ])
    expect(isMangled(await pack('mixed'))).toBe(true)
    expect(await carry()).toMatchObject({ rows: 2, plain: null })
    expect(await facts(target)).toEqual(await facts(source))
  })

  test('no single byte, and no pair of bytes, arrives as another', async () => {
    const firsts = ['00', '41', '7f', '80', 'bf', 'c0', 'c3', 'e2', 'ed', 'f0', 'ff']
    const texts = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
    const pairs = firsts.flatMap((first) => texts.filter((_, byte) => byte % 5 === 0).map((last) => first + last))
    const all = [...texts, ...pairs]
    await source
      .prepare(
        `INSERT INTO "strange ""table""" SELECT printf('%04x', key), key, CAST(unhex(value) AS TEXT) FROM json_each(?)`,
      )
      .bind(JSON.stringify(all))
      .run()
    // Each alone too, because one mangled row causes all of them to be packed again.
    for (let byte = 0; byte < 256; byte += 15) {
      const slot = byte.toString(16).padStart(4, '0')
      const alone = await pack('mixed', source, slot, `${slot}z`)
      await write(isMangled(alone) ? await pack('tagged', source, slot, `${slot}z`) : alone)
    }
    expect(await facts(target)).toEqual((await facts(source)).filter((_, byte) => byte < 256 && byte % 15 === 0))
    await carry()
    expect(await facts(target)).toEqual(await facts(source))
    expect(await facts(target)).toHaveLength(all.length)
  })

  test('the replacement character itself and similar text do not count as mangled', async () => {
    await insert([
      ['0000a', 1, 'char(65533)'],
      ['0000a', 2, "'\\ufffd'"],
    ])
    const mixed = await pack('mixed')
    expect(isMangled(mixed)).toBe(false)
    expect(mixed.plain).toBe('[["0000a",2,"\\\\ufffd"]]')
  })

  test('control characters that would be too long in JSON travel as hex', async () => {
    const control = `replace(hex(zeroblob(90000)), '00', char(1))`
    await insert(Array.from({ length: 4 }, (_, part) => ['0000a', part, control]))
    const mixed = await pack('mixed')
    expect(mixed.plain!.length).toBeGreaterThan(limits.moveTextBytesMax)
    expect(isMangled(mixed)).toBe(true)
    expect((await carry()).tagged!.length).toBeLessThan(limits.moveTextBytesMax)
    expect(await facts(target)).toEqual(await facts(source))
  })
})

test.each([
  ['ASCII', 'hex(zeroblob(131000))'],
  ['control characters', "replace(hex(zeroblob(262000)), '00', char(2))"],
  ['emoji', "replace(hex(zeroblob(65500)), '00', '🌳')"],
  ['bytes', 'randomblob(262000)'],
])('a row of 256 KB of %s travels within a parameter’s limit', async (_, literal) => {
  await insert([['0000a', 1, literal]])
  const { plain, tagged } = await carry()
  expect((plain ?? tagged)!.length).toBeLessThan(limits.moveTextBytesMax)
  expect(await facts(target)).toEqual(await facts(source))
})

describe('existing rows', () => {
  test('become equal, including NULLs, and other rows stay', async () => {
    await insert([['0000a', 1, 'NULL']])
    await insert(
      [
        ['0000a', 1, "'old'"],
        ['0000b', 1, "'stays'"],
      ],
      target,
    )
    await carry()
    expect((await facts(target)).slice(0, 1)).toEqual(await facts(source))
    expect(await facts(target)).toHaveLength(2)
  })

  test('do not change if the table has only key columns', async () => {
    const bare = { ...strange, columns: strange.key }
    await insert([['0000a', 1, "'stays'"]], target)
    await target.prepare(upsertSql(bare, 'plain')).bind('[["0000a",1],["0000b",1]]').run()
    expect(keysOf(await pack('mixed', target))).toEqual([
      ['0000a', 1],
      ['0000b', 1],
    ])
    expect(await facts(target)).toMatchObject([{ class: 'text' }, { class: 'null' }])
  })
})

describe('rows selected by their keys', () => {
  const ids = ['0000', '0000A', '0000ä', '0000\u{10000}', '0000\'"\\']

  beforeEach(() => insert(ids.map((id) => [id, 1, "'x'"])))

  test('are found and deleted with the key that the capture wrote', async () => {
    const all = keysOf(await pack('tagged'))
    const { results } = await source
      .prepare(`SELECT json_array(id, part) AS pk FROM "strange ""table""" ORDER BY id`)
      .all<{ pk: string }>()
    const named = `[${[results[1]!.pk, results[4]!.pk, '["0000 gone",1]'].join()}]`
    const found = (await source.prepare(namedSql(strange, 'tagged')).bind(named).first<PackedRows>())!
    expect(keysOf(found)).toEqual([all[1], all[4]])
    await source.prepare(deleteSql(strange)).bind(named).run()
    expect(keysOf(await pack('tagged'))).toEqual([all[0], all[2], all[3]])
  })

  // D1 binds a number as REAL.
  test('are also found by integers that JavaScript bound, and stay integers at the target', async () => {
    const large = 9_007_199_254_740_991
    await insert([
      ['0001', 7, "'x'"],
      ['0001', large, "'x'"],
    ])
    await carry()
    expect(await facts(target)).toEqual(await facts(source))
    expect((await facts(target)).map((fact) => (fact as { partClass: string }).partClass)).toEqual(
      Array(ids.length + 2).fill('integer'),
    )
    const named = JSON.stringify([
      ['0001', 7],
      ['0001', large],
    ])
    const found = (await target.prepare(namedSql(strange, 'mixed')).bind(named).first<PackedRows>())!
    expect(found).toMatchObject({ rows: 2, plain: `[["0001",7,"x"],["0001",${large},"x"]]` })
  })
})

test('the tables of each keyspace are discovered in the shard, with keys and columns in order', async () => {
  const find = async (keyspace: 'users' | 'claims') =>
    readTables(keyspace, (await source.prepare(FIND_TABLES).bind(keyspace).all<never>()).results)
  const users = await find('users')
  expect((await find('claims')).map(({ name }) => name)).toEqual(['claim_inbox', 'claims'])
  const engines = ['claim_attempts', 'dead_letters', 'idempotency_keys', 'inbox', 'outbox', 'sessions']
  const names = users.map(({ name }) => name)
  expect(names).toEqual(names.toSorted())
  expect(names).toEqual(expect.arrayContaining(['accounts', ...engines, 'mail_tokens', 'posts', 'profiles']))
  for (const other of ['slots', 'slot_changes', 'mover', 'shard_identity', 'd1_migrations', 'claims', 'claim_inbox'])
    expect(names).not.toContain(other)
  expect(users.find(({ name }) => name === 'posts')).toEqual({
    name: 'posts',
    keyspace: 'users',
    key: ['id'],
    columns: ['id', 'author_id', 'text', 'created_at', 'edited_at', 'version'],
  })
})
