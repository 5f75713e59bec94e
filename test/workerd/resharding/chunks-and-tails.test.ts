import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import {
  boundTailSql,
  type PackedRows,
  purgeSql,
  sampleSql,
  tailReachSql,
  tailSql,
} from '../../../src/resharding/rows.ts'
import type { MovedTable } from '../../../src/resharding/tables.ts'
import {
  chunk,
  countChunk,
  countUpTo,
  insert,
  keysOf,
  makeStrangeTables,
  pack,
  packUpTo,
  source,
  strange,
} from '../../support/strange-table.ts'

beforeEach(makeStrangeTables)

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

type Bounds = NonNullable<Parameters<typeof chunk>[1]>

/** Every chunk of the slots, as the keys that each contained. */
async function walk(bounds: Bounds): Promise<string[][]> {
  const chunks: string[][] = []
  for (let cursor: string | null = null; ; ) {
    const { end, ...packs } = await chunk(cursor, bounds)
    const keys = keysOf(packs)
    expect(keys).toHaveLength(packs.rows)
    chunks.push(keys.map((key) => JSON.stringify(key)))
    expect(await packUpTo(source, cursor, end)).toEqual(packs)
    if (end === null) return chunks
    cursor = end
  }
}

async function keysInOrder(): Promise<string[]> {
  const { results } = await source
    .prepare('SELECT json_array(id, part) AS key FROM "strange ""table""" ORDER BY id, part')
    .all<{ key: string }>()
  return results.map(({ key }) => key)
}

describe('keys that sort oddly', () => {
  const parts = [-1, 2, 10, 9007199254740991]

  test.each([1, 3, 1_000])('are read %i rows at a time, each exactly once, in SQLite’s own order', async (rowsMax) => {
    await insert(ids.flatMap((id) => parts.map((part) => [id, part, "'x'"] as [string, number, string])))
    const walked = await walk({ rowsMax, packing: 'mixed' })
    expect(walked.every((keys) => keys.length <= rowsMax)).toBe(true)
    expect(walked).toHaveLength(Math.ceil((ids.length * parts.length) / rowsMax))
    // In each chunk, plain rows come before tagged ones. Chunk by chunk, the keys are in order.
    const order = await keysInOrder()
    let before = 0
    for (const keys of walked) {
      expect(keys.toSorted()).toEqual(order.slice(before, before + keys.length).toSorted())
      before += keys.length
    }
    expect(before).toBe(order.length)
  })

  test('a chunk contains only rows of its slots, and ends where they end', async () => {
    await insert(ids.map((id) => [id, 1, "'x'"]))
    const slots = { first: '0001', after: '0002' }
    const { end, ...packs } = await chunk(null, slots)
    expect(end).toBeNull()
    expect(keysOf(packs).map(([id]) => id)).toEqual(['0001', '00010'])
    const { end: half } = await chunk(null, { ...slots, rowsMax: 1 })
    expect(half).toBe('["0001",1]')
    expect(await chunk(half, slots)).toMatchObject({ rows: 1, end: null })
    expect(keysOf(await pack('mixed', source, 'ffff', 'g'))).toEqual([['ffffz', 1]])
  })

  test('a chunk of slots without rows is empty, and the last one', async () => {
    await insert(ids.map((id) => [id, 1, "'x'"]))
    const nothing = { rows: 0, plain: null, tagged: null, end: null }
    expect(await chunk(null, { first: '0100', after: '0200' })).toEqual(nothing)
  })

  test('a chunk whose cursor’s row was deleted continues after it', async () => {
    await insert(ids.map((id) => [id, 1, "'x'"]))
    const { end } = await chunk(null, { rowsMax: 5 })
    await source.prepare('DELETE FROM "strange ""table""" WHERE json_array(id, part) = ?').bind(end).run()
    expect(await chunk(end)).toMatchObject({ rows: ids.length - 5, end: null })
  })

  test('rows inserted before the cursor are not read, and rows inserted after it are', async () => {
    await insert(ids.map((id) => [id, 1, "'x'"]))
    const { end } = await chunk(null, { rowsMax: 5 })
    await insert([
      ['0000', 0, "'behind'"],
      ['ffff', 0, "'ahead'"],
    ])
    expect(await chunk(end)).toMatchObject({ rows: ids.length - 5 + 1, end: null })
  })
})

test.each([1, 3, 7, 1_000])('counting %i rows at a time counts the rows at both ends once', async (rowsMax) => {
  await insert(ids.flatMap((id) => [1, 2].map((part) => [id, part, "'x'"] as [string, number, string])))
  await insert([['0100', 1, "'of another slot'"]])
  const slots = { first: '0000', after: '0100' }
  const counts: number[] = []
  for (let cursor: string | null = null; ; ) {
    const { rows, end } = await countChunk(cursor, { ...slots, rowsMax })
    expect(await countUpTo(cursor, end, slots)).toBe(rows)
    counts.push(rows)
    if (end === null) break
    cursor = end
  }
  const all = ids.filter((id) => id < '0100').length * 2
  expect(counts.reduce((sum, rows) => sum + rows, 0)).toBe(all)
  expect(counts).toHaveLength(Math.ceil(all / rowsMax))
  expect(await countChunk(null, { first: '0200', after: '0300', rowsMax })).toEqual({ rows: 0, end: null })
})

describe('a chunk limited by bytes', () => {
  const sized = (sizes: number[]) =>
    insert(sizes.map((size, part) => ['0000', part, `replace(hex(zeroblob(${size})), '00', 'x')`]))
  const lengths = async (bounds: Bounds) => (await walk(bounds)).map((keys) => keys.length)

  test('contains as many rows as fit', async () => {
    await sized(Array(10).fill(1_000))
    expect(await lengths({ bytesMax: 3_500 })).toEqual([3, 3, 3, 1])
  })

  test('contains only one row if the row exceeds the limit, wherever the row is', async () => {
    await sized([10, 5_000, 10, 10, 9_000, 9_000, 10])
    expect(await lengths({ bytesMax: 1_000 })).toEqual([1, 1, 2, 1, 1, 1])
  })

  test('counts the bytes of values of any class, not their characters, and nothing for NULL', async () => {
    await insert([
      ['0000', 1, "replace(hex(zeroblob(250)), '00', '🌳')"],
      ['0000', 2, 'zeroblob(1000)'],
      ['0000', 3, 'NULL'],
      ['0000', 4, '9223372036854775807'],
    ])
    expect(await lengths({ bytesMax: 1_050 })).toEqual([1, 1, 2])
  })

  // Also as the source reads it. SQL's own values have the limit, and a longer value never arrives to be packed again.
  test('stays below D1’s longest value, however JSON writes it', async () => {
    await insert(
      Array.from({ length: 12 }, (_, part) => ['0000', part, "replace(hex(zeroblob(36000)), '00', char(1))"]),
    )
    const { rows, plain } = await chunk(null, { bytesMax: limits.moveChunkBytesMax })
    expect(rows).toBeGreaterThan(1)
    expect(plain!.length).toBeGreaterThan(1_000_000)
    expect(plain!.length).toBeLessThan(limits.moveTextBytesMax)
  })
})

test('rows are purged and counted only in the given ranges', async () => {
  await insert(
    ['0000', '0001', '0001a', '0002', '0005', '0006', '0007', 'ffff'].flatMap((id) => [
      [id, 1, "'x'"],
      [id, 2, "'x'"],
    ]),
  )
  const ranges = JSON.stringify([
    ['0001', '0002'],
    ['0005', '0007'],
    ['ffff', 'g'],
  ])
  const sample = (rowsMax: number) => source.prepare(sampleSql(strange, rowsMax)).bind(ranges).first()
  const count = async () => (await sample(1_000))!.rows
  const purge = async (rowsMax: number) =>
    (await source.prepare(purgeSql(strange, rowsMax)).bind(ranges).run()).meta.changes
  expect(await sample(1_000)).toEqual({ rows: 10, slot: 'ffff' })
  expect(await sample(5)).toEqual({ rows: 5, slot: '0005' })
  expect(await source.prepare(sampleSql(strange, 5)).bind('[["0100","0200"]]').first()).toEqual({ rows: 0, slot: null })
  expect([await purge(4), await count()]).toEqual([4, 6])
  expect([await purge(4), await purge(4), await purge(4), await count()]).toEqual([4, 2, 0, 0])
  expect((await keysInOrder()).map((key) => JSON.parse(key)[0])).toEqual([
    ...['0000', '0000', '0002', '0002', '0007', '0007'],
  ])
})

describe('the tail of captured changes', () => {
  const MOVE = 'move-1'
  const inboxTable: MovedTable = { name: 'inbox', keyspace: 'users', key: ['id'], columns: ['id', 'done_at'] }
  const tables = [inboxTable, strange]

  beforeEach(async () => {
    await source.batch([
      source.prepare('DELETE FROM slot_changes'),
      source.prepare("DELETE FROM sqlite_sequence WHERE name = 'slot_changes'"),
      source.prepare('UPDATE mover SET cursors = ?').bind('{}'),
    ])
  })

  /** Like the fence's triggers write them. The first has `seq` 1. */
  const capture = (changes: [pk: unknown[], move?: string, table?: string][]) =>
    source.batch(
      changes.map(([pk, move = MOVE, table = strange.name]) =>
        source
          .prepare('INSERT INTO slot_changes (move_id, tbl, pk) VALUES (?, ?, ?)')
          .bind(move, table, JSON.stringify(pk)),
      ),
    )

  /** The statements of a mover's batch, for all tables. */
  async function tail({ after = 0, rowsMax = 500, bytesMax = 100_000, since = 0, waitingMax = 1_000 } = {}) {
    const [, reach, ...tails] = await source.batch<never>([
      source.prepare(boundTailSql(tables, rowsMax)).bind(MOVE, after, bytesMax),
      source.prepare(tailReachSql(waitingMax)).bind(MOVE, since),
      ...tables.map((table) => source.prepare(tailSql(table, 'mixed')).bind(MOVE, after)),
    ])
    const [inbox, ours] = tails.map(({ results }) => results[0]! as PackedRows & { keys: string | null })
    return { ...(reach!.results[0]! as { seq: number; isBehind: 0 | 1; waiting: number }), inbox: inbox!, ours: ours! }
  }

  const nothing = { keys: null, rows: 0, plain: null, tagged: null }

  test('is empty if nothing changed, and ends where it started', async () => {
    await insert([['0000', 1, "'x'"]])
    expect(await tail({ after: 7 })).toEqual({ seq: 7, isBehind: 0, waiting: 0, inbox: nothing, ours: nothing })
  })

  test('contains changed rows as they are now, and the keys of deleted ones', async () => {
    await insert([
      ['0000', 1, "'as it is now'"],
      ['0000', 2, "'unchanged'"],
      ['0000', 4, '0.5'],
    ])
    await capture([[['0000', 1]], [['0000', 3]], [['0000', 4]]])
    expect(await tail()).toEqual({
      seq: 3,
      isBehind: 0,
      waiting: 0,
      inbox: nothing,
      ours: {
        keys: '[["0000",1],["0000",3],["0000",4]]',
        rows: 2,
        plain: '[["0000",1,"as it is now"]]',
        tagged: '[["t30303030","i4","r0.5"]]',
      },
    })
  })

  test('contains a row that changed twice once', async () => {
    await insert([['0000', 1, "'x'"]])
    await capture([[['0000', 1]], [['0000', 1]], [['0000', 1]]])
    expect(await tail()).toMatchObject({ seq: 3, ours: { keys: '[["0000",1]]', rows: 1 } })
  })

  test('contains each table’s rows under that table', async () => {
    await insert([['0000', 1, "'x'"]])
    await capture([[['0000x'], MOVE, 'inbox'], [['0000', 1]]])
    const { inbox, ours } = await tail()
    expect([inbox.keys, ours.keys]).toEqual(['[["0000x"]]', '[["0000",1]]'])
  })

  test('skips changes that the target has, and changes of another move', async () => {
    await insert([1, 2, 3, 4].map((part) => ['0000', part, "'x'"]))
    await capture([[['0000', 1]], [['0000', 2], 'move-2'], [['0000', 3]], [['0000', 4], 'move-2']])
    expect(await tail({ after: 1 })).toMatchObject({
      seq: 3,
      isBehind: 0,
      waiting: 0,
      ours: { keys: '[["0000",3]]', rows: 1 },
    })
  })

  test('is limited by rows; the waiting changes of this move only are counted', async () => {
    await insert([1, 2, 3, 4, 5].map((part) => ['0000', part, "'x'"]))
    await capture([1, 2, 3, 4, 5].map((part) => [['0000', part]]))
    await capture([[['0000', 1], 'move-2']])
    const first = await tail({ rowsMax: 2 })
    expect(await tail({ rowsMax: 2, waitingMax: 2 })).toMatchObject({ seq: 2, isBehind: 1, waiting: 2 })
    expect(await tail({ rowsMax: 2, since: 4 })).toMatchObject({ seq: 2, isBehind: 1, waiting: 1 })
    expect(first).toMatchObject({ seq: 2, isBehind: 1, waiting: 3, ours: { keys: '[["0000",1],["0000",2]]', rows: 2 } })
    expect(await tail({ after: first.seq, rowsMax: 2 })).toMatchObject({ seq: 4, isBehind: 1, waiting: 1 })
    expect(await tail({ after: 4, rowsMax: 2 })).toMatchObject({ seq: 5, isBehind: 0, waiting: 0, ours: { rows: 1 } })
  })

  test('is limited by the bytes of the current rows of all tables, but contains at least one', async () => {
    const kilobyte = "replace(hex(zeroblob(1000)), '00', 'x')"
    await insert([1, 2, 3].map((part) => ['0000', part, kilobyte]))
    await capture([[['0000', 1]], [['0000', 9]], [['0000x'], MOVE, 'inbox'], [['0000', 2]], [['0000', 3]]])
    expect(await tail({ bytesMax: 1_500 })).toMatchObject({ seq: 3, isBehind: 1, waiting: 2 })
    expect(await tail({ bytesMax: 10 })).toMatchObject({ seq: 1, isBehind: 1, waiting: 4, ours: { rows: 1 } })
    expect(await tail({ after: 3, bytesMax: 10 })).toMatchObject({ seq: 4, isBehind: 1, waiting: 1 })
    expect(await tail({ after: 3, bytesMax: 3_000 })).toMatchObject({ seq: 5, isBehind: 0, waiting: 0 })
  })

  test('does not end at a table that is unknown here', async () => {
    await capture([[['x'], MOVE, 'dropped'], [['0000', 1]]])
    expect(await tail()).toMatchObject({ seq: 2, isBehind: 0, waiting: 0, ours: { keys: '[["0000",1]]' } })
  })

  test('contains keys that sort oddly', async () => {
    await insert(ids.map((id) => [id, 1, "'x'"]))
    await capture(ids.map((id) => [[id, 1]]))
    const { ours } = await tail()
    expect(keysOf(ours).toSorted()).toEqual(ids.map((id) => [id, 1]).toSorted())
  })
})
