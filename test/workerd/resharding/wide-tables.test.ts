import { expect, test } from 'vitest'
import { quotedName } from '../../../src/core/sql-text.ts'
import { fencedTable, fenceTriggers } from '../../../src/sharding/fence-sql.ts'
import { createSql, drizzleTable, type HostileTable } from '../../support/hostile-schemas.ts'
import { drive, once, planMove, shards } from '../../support/moving.ts'

/** Its key has an integer column named `bytes`. */
const wide = (count: number): HostileTable => ({
  name: `wide "${count}"`,
  keyspace: 'users',
  columns: [
    { name: 'id', type: 'text', isKey: true, isNotNull: true, generated: null },
    { name: 'bytes', type: 'integer', isKey: true, isNotNull: true, generated: null },
    ...Array.from({ length: count - 2 }, (_, index) => {
      return { name: `c${index}`, type: 'any', isKey: false, isNotNull: false, generated: null } as const
    }),
  ],
  key: ['id', 'bytes'],
  isStrict: false,
  isWithoutRowid: false,
  flaw: null,
})

test.each([3, 43, 100])('a table of %i columns moves on the local runtime under writes', async (count) => {
  const table = wide(count)
  const name = quotedName(table.name)
  const slot = `0e${String(count).padStart(3, '0').slice(-2)}`
  const triggers = fenceTriggers(fencedTable(drizzleTable(table))).map(({ sql }) => sql)
  const all = (binding: string) => shards.get(binding)!.prepare(`SELECT * FROM ${name} ORDER BY id, bytes`).all()
  try {
    for (const shard of shards.values())
      await shard.batch([createSql(table), ...triggers].map((sql) => shard.prepare(sql)))
    const { id } = await planMove('users', slot, 'shard-001')
    const source = shards.get('SHARD_000')!
    const last = quotedName(table.columns.at(-1)!.name)
    const insert = (part: number, value: string) =>
      source.prepare(`INSERT INTO ${name} (id, bytes, ${last}) VALUES ('${slot}', ${part}, ${value})`)
    await source.batch([insert(1, "'plain'"), insert(400_000, "'ä'"), insert(9_000_000, 'NULL')])
    const record = await drive(
      id,
      once('copied', async () => void (await insert(2_000_000, '0.5').run())),
    )
    expect(record).toMatchObject({ state: 'settling', error: null })
    const moved = (await all('SHARD_001')).results
    expect(moved).toHaveLength(4)
    expect(moved).toEqual((await all('SHARD_000')).results)
  } finally {
    for (const shard of shards.values()) await shard.prepare(`DROP TABLE IF EXISTS ${name}`).run()
  }
})
