import { describe, expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { quotedName } from '../../../src/core/sql-text.ts'
import { ownedHere } from '../../../src/sharding/shards.ts'

describe('the condition that a row is owned here', () => {
  const shard = migratedDatabase()
  shard.exec("INSERT INTO slots VALUES ('users', '0000', 'active', 1, NULL), ('users', '0001', 'moved', 1, NULL)")

  test.each(['id', 'slot', 'SLOT', 'state', 'keyspace', 'epoch', 'move_id', 'known_slot', 'known__slot'])(
    'is true for those rows only, even if the key is named %s',
    (name) => {
      shard.exec('DROP TABLE IF EXISTS rows_of')
      shard.exec(`CREATE TEMP TABLE rows_of (${quotedName(name)} TEXT PRIMARY KEY)`)
      shard.exec("INSERT INTO rows_of VALUES ('0000a'), ('0001a'), ('0002a')")
      const sql = (column: string) => `SELECT count(*) AS n FROM rows_of WHERE ${ownedHere('users', column)}`
      for (const column of [name, quotedName(name), `rows_of.${name}`])
        expect(shard.prepare(sql(column)).get()).toEqual({ n: 1 })
      expect(JSON.stringify(shard.prepare(`EXPLAIN QUERY PLAN ${sql(name)}`).all())).toMatch(
        /SEARCH slots .*USING PRIMARY KEY \(keyspace=\? AND slot=\?/,
      )
    },
  )
})
