import { beforeEach, describe, expect, test } from 'vitest'
import { routedShards } from '../../support/sharding-doubles.ts'
import { databases, slotStatement } from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const SLOT = '00aa'
const { shards } = routedShards({ databases })
const routed = [
  ['leased', shards.of(SLOT)],
  ['exact', shards.of(SLOT, { read: 'exact' })],
] as const

beforeEach(async () => {
  await shard.batch([
    slotStatement(shard, 'users', SLOT, 'active'),
    shard.prepare('DROP TABLE IF EXISTS files'),
    shard.prepare('CREATE TABLE files (id TEXT PRIMARY KEY, data BLOB)'),
  ])
})

const buffer = (bytes: number[]) => Uint8Array.from(bytes).buffer
type Value = [name: string, make: () => unknown, overwrite: (value: never) => void]
const scratch: Value[] = [
  ['Uint8Array', () => new Uint8Array([1, 2]), (value: Uint8Array) => value.fill(9)],
  ['part of a larger buffer', () => new Uint8Array(buffer([0, 1, 2, 0])).subarray(1, 3), (v: Uint8Array) => v.fill(9)],
  ['Buffer', () => Buffer.from([1, 2]), (value: Buffer) => value.fill(9)],
  ['ArrayBuffer', () => buffer([1, 2]), (value: ArrayBuffer) => new Uint8Array(value).fill(9)],
  ['Uint8ClampedArray', () => new Uint8ClampedArray([1, 2]), (value: Uint8ClampedArray) => value.fill(9)],
  ['Int8Array', () => new Int8Array([-1, 2]), (value: Int8Array) => value.fill(9)],
  ['Uint16Array', () => new Uint16Array([258, 1]), (value: Uint16Array) => value.fill(9)],
  ['Float64Array', () => new Float64Array([1.5, 2]), (value: Float64Array) => value.fill(9)],
  ['DataView', () => new DataView(buffer([1, 2])), (value: DataView) => value.setUint8(0, 9)],
  ['array', () => [1, 2], (value: number[]) => value.fill(9)],
  ['array of fractions', () => [1.5, 2], (value: number[]) => value.fill(9)],
  ['empty array', () => [], (value: number[]) => value.push(9)],
]

describe.each(routed)('%s', (_, database) => {
  test.each(scratch)('%s: keeps the values from when it was bound', async (_, make, overwrite) => {
    const expected = await shard.prepare('SELECT hex(?) AS data, typeof(?1) AS type').bind(make()).first()
    const value = make()
    const statement = database.prepare('SELECT hex(?) AS data, typeof(?1) AS type').bind(value)
    overwrite(value as never)
    expect(await statement.first()).toEqual(expected)
  })

  test('one scratch buffer, bound three times in a batch', async () => {
    const value = new Uint8Array(2)
    const statements = [1, 2, 3].map((n) => {
      value.fill(n)
      return database.prepare('INSERT INTO files VALUES (?, ?)').bind(`${SLOT}${n}`, value)
    })
    await database.batch(statements)
    const { results } = await shard.prepare('SELECT hex(data) AS data FROM files ORDER BY id').all()
    expect(results).toEqual([{ data: '0101' }, { data: '0202' }, { data: '0303' }])
  })

  test('a buffer that is overwritten while a statement is retried', async () => {
    const value = new Uint8Array([1])
    let isFirst = true
    const { shards: flaky } = routedShards({
      databases,
      before: async () => {
        value.fill(9)
        if (!isFirst) return
        isFirst = false
        throw new Error('D1_ERROR: Network connection lost.')
      },
    })
    const answer = await flaky.of(SLOT).prepare('SELECT hex(?) AS data').bind(value).first('data')
    expect(answer).toBe('01')
  })

  // D1 accepts these, but fails with a text that does not mention the statement.
  test.each([new BigUint64Array([1n]), new Float64Array([Number.NaN]), Array(2)])(
    'a value that can’t be put into JSON is refused at once: case %#',
    (value) => {
      expect(() => database.prepare('SELECT ?').bind(value)).toThrow(/^D1_TYPE_ERROR: Type 'object' not supported/)
    },
  )
})
