import { expect, test } from 'vitest'
import { slotText } from '../../../src/core/ids.ts'
import { fencedTable } from '../../../src/sharding/fence-sql.ts'
import { bootedFleet } from '../../support/fleet.ts'
import { moveHostile } from '../../support/hostile-moves.ts'
import { drawSchema, drawTable, drizzleTable, type HostileTable } from '../../support/hostile-schemas.ts'
import { seededRandom } from '../../support/sharding-doubles.ts'

const fleet = await bootedFleet()
let used = 0
/** A separate slot for each schema, and the slot after it. */
function slot(): string {
  used += 2
  return slotText(used)
}

test('a table with the longest names that the generator accepts moves under writes', async () => {
  const random = seededRandom(5)
  const table = drawTable(random, 'long', 100)
  const long = new Map(table.columns.map(({ name }, place) => [name, `${place}`.padEnd(157, '"é')]))
  for (const column of table.columns) column.name = long.get(column.name)!
  table.key = table.key.map((name) => long.get(name)!)
  for (const column of table.columns)
    if (column.generated !== null) column.generated = "GENERATED ALWAYS AS ('g') VIRTUAL"
  for (;;) {
    try {
      fencedTable(drizzleTable(table))
      break
    } catch {
      for (const column of table.columns) column.name = column.name.slice(0, -1)
      table.key = table.key.map((name) => name.slice(0, -1))
    }
  }
  expect(table.columns[0]!.name.length).toBeGreaterThan(50)
  expect(await moveHostile(fleet, [table], slot(), random)).toEqual({ moved: 1, refused: 0 })
})

/** Its key has a text and an integer, which may be larger than any number of bytes or rows. */
function keyedBy(name: string): HostileTable {
  const column = { type: 'text', isKey: false, isNotNull: true, generated: null } as const
  return {
    name,
    keyspace: 'users',
    columns: [
      { ...column, name: 'owner', isKey: true },
      { ...column, name, type: 'integer', isKey: true },
      { ...column, name: 'text' },
    ],
    key: ['owner', name],
    isStrict: false,
    isWithoutRowid: false,
    flaw: null,
  }
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))(
  'schema %i moves exactly under writes, or the generator refuses it with a reason',
  async (seed) => {
    const random = seededRandom(seed)
    const tables = drawSchema(random)
    const { moved, refused } = await moveHostile(fleet, tables, slot(), random)
    expect(moved + refused).toBe(tables.length)
  },
)

test.each([32, 33, 43, 64, 99, 100])('a table of %i columns moves under writes', async (count) => {
  const random = seededRandom(count)
  const table = drawTable(random, `wide ${count}`, count)
  expect(await moveHostile(fleet, [table], slot(), random)).toEqual({ moved: 1, refused: 0 })
})

test.each(['bytes', 'size', 'seq', 'value', 'end', 'slot', 'excluded', 'rowid', 'c0', 'k0', 't'])(
  'a table named %s, like a column of its key, moves under writes',
  async (name) => {
    for (const seed of [1, 2, 3])
      expect(await moveHostile(fleet, [keyedBy(name)], slot(), seededRandom(seed))).toEqual({ moved: 1, refused: 0 })
  },
)
