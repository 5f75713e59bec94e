import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { MovedTable } from '../../../src/resharding/tables.ts'
import { SimulatedShard } from '../../simulation/database.ts'
import { RowLog } from '../../simulation/row-log.ts'

function opened() {
  const sqlite = new DatabaseSync(':memory:')
  sqlite.exec(`
    CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT);
    CREATE TABLE marks (id TEXT PRIMARY KEY, body TEXT);
    CREATE TABLE slots (keyspace TEXT, slot TEXT, state TEXT, move_id TEXT);
    CREATE TABLE slot_changes (pk TEXT);
    CREATE TRIGGER notes_capture BEFORE DELETE ON notes BEGIN INSERT INTO slot_changes VALUES (OLD.id); END;`)
  const table = (name: string, keyspace: 'users' | 'claims'): MovedTable => ({
    name,
    keyspace,
    key: ['id'],
    columns: ['id', 'body'],
  })
  const log = new RowLog(sqlite, { users: [table('notes', 'users')], claims: [table('marks', 'claims')] })
  const shard = new SimulatedShard(sqlite)
  const run = (...sqls: string[]) => {
    log.clear()
    return shard.execute({ statements: sqls.map((sql) => ({ sql, values: [] })) })
  }
  return { log, run }
}

test('every changed row of a sharded table is logged, whatever changed it', () => {
  const { log, run } = opened()
  run('INSERT INTO notes SELECT value, \'x\' FROM json_each(\'["a", "b"]\')', "INSERT INTO marks VALUES ('m', '')")
  expect(log.rows.map(({ keyspace, table, key }) => `${keyspace} ${table} ${key}`)).toEqual([
    'users notes a',
    'users notes b',
    'claims marks m',
  ])
  run("UPDATE notes SET body = 'y' WHERE id >= 'b'", "UPDATE notes SET body = 'z' WHERE id = 'nobody'")
  expect(log.rows.map(({ key }) => key)).toEqual(['b'])
  run("INSERT INTO notes VALUES ('b', 'w') ON CONFLICT (id) DO UPDATE SET body = excluded.body")
  expect(log.rows.map(({ key }) => key)).toEqual(['b'])
  run('DELETE FROM notes')
  expect(log.rows.map(({ key }) => key).toSorted()).toEqual(['a', 'b'])
})

test('only inserted rows, rewritten rows and captured changes need room', () => {
  const { log, run } = opened()
  run(
    "INSERT INTO marks VALUES ('m', '')",
    "UPDATE marks SET body = 'y'",
    "INSERT INTO slots VALUES ('users', '0000', 'active', NULL)",
  )
  expect(log.grown).toBe(3)
  run('DELETE FROM marks')
  expect(log.grown).toBe(0)
  run("INSERT INTO notes VALUES ('a', '')")
  run('DELETE FROM notes')
  expect(log.grown).toBe(1)
})

test('slots whose state changes are logged, with the previous state', () => {
  const { log, run } = opened()
  run("INSERT INTO slots VALUES ('users', '0000', 'importing', 'm')")
  expect(log.turned).toEqual([{ keyspace: 'users', slot: '0000', from: null, to: 'importing', moveId: 'm' }])
  run("UPDATE slots SET state = 'active', move_id = NULL")
  expect(log.turned).toEqual([{ keyspace: 'users', slot: '0000', from: 'importing', to: 'active', moveId: 'm' }])
  run('DELETE FROM slots')
  expect(log.turned).toEqual([{ keyspace: 'users', slot: '0000', from: 'active', to: null, moveId: null }])
})

test('the counts of changes equal D1’s', () => {
  const { run } = opened()
  const [inserted, , counted] = run(
    "INSERT INTO marks VALUES ('m', ''), ('n', '')",
    'SELECT 1',
    'SELECT changes() AS changes',
  )
  expect(inserted!.meta.changes).toBe(2)
  expect(counted!.results).toEqual([{ changes: 2 }])
})
