import { readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { readMigrations } from '../../../../src/cli/migrations/shard-migrations.ts'
import { DoubleDatabase } from '../../../support/platform/databases.ts'
import { cutAsReported } from '../../../support/platform/sql-splitter.ts'

/** An earlier 0000_shard.sql, with triggers in a form that D1's API splits. */
const earlier = readFileSync(
  path.resolve(import.meta.dirname, '../../../support/platform/earlier/0000_shard.sql'),
  'utf8',
)
const earlierStatements = earlier.split('--> statement-breakpoint').map((sql) => ({ sql: sql.trim() }))

let database: DoubleDatabase
beforeEach(() => {
  database = new DoubleDatabase('id', { name: 'shard' })
})

describe('the API’s splitter, as reported', () => {
  test.each([
    ['the END of a bare CASE', 'BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; END'],
    ['begin in lower case', 'begin SELECT 1; END'],
    ['LF after BEGIN', 'BEGIN\n SELECT 1; END'],
    ['LF between statements', 'BEGIN SELECT 1;\nSELECT 2; END'],
    ['CRLF', 'BEGIN\r\n  SELECT 1;\r\nEND'],
  ])('splits a trigger at %s', async (_, body) => {
    await database.query([{ sql: 'CREATE TABLE t (a)' }])
    const sql = `CREATE TRIGGER g AFTER INSERT ON t ${body};`
    await expect(database.query([{ sql }])).rejects.toThrow(/incomplete input|syntax error/)
  })

  test('keeps one line with BEGIN in upper case and CASE in parentheses, whatever its strings and names contain', () => {
    const sql = `CREATE TRIGGER "a ; END" AFTER INSERT ON t BEGIN SELECT (CASE 1 WHEN 1 THEN ';' END); SELECT ' END;'; END`
    expect(cutAsReported(`${sql}; SELECT 1;`)).toEqual([sql, 'SELECT 1'])
  })
})

test('the earlier first migration fails there', async () => {
  await expect(database.query(earlierStatements)).rejects.toThrow('incomplete input: SQLITE_ERROR')
})

test('the current migrations pass, with each statement unsplit', async () => {
  const count = (start: string) =>
    readMigrations().flatMap(({ statements }) => statements.filter((sql) => sql.startsWith(start))).length
  const triggers = count('CREATE TRIGGER') - count('DROP TRIGGER') // a new column renews two fences of its table
  expect(triggers).toBeGreaterThan(40)
  for (const { statements } of readMigrations()) {
    for (const sql of statements) expect(cutAsReported(sql)).toEqual([sql.replace(/;$/, '')])
    await database.query(statements.map((sql) => ({ sql })))
  }
  const [found] = await database.query([{ sql: "SELECT count(*) AS n FROM sqlite_master WHERE type = 'trigger'" }])
  expect(found!.results).toEqual([{ n: triggers }])
})

test('the current first migration has the same tables and refusals as the earlier one', async () => {
  const [first] = readMigrations()
  await database.query(first!.statements.map((sql) => ({ sql })))
  const now = database.engine
  const before = new DoubleDatabase('before', { name: 'before' }).engine
  await before.batch(earlierStatements)
  const states = ['active', 'moving', 'fenced', 'importing', 'moved']
  for (const engine of [now, before])
    for (const [slot, state] of states.entries())
      await engine.batch([{ sql: `INSERT INTO slots VALUES ('users', '000${slot}', '${state}', 1, NULL)` }])
  const attempts = [
    ...[...states.keys(), 9].map((slot) => `INSERT INTO slot_guard VALUES ('users', '000${slot}')`),
    'INSERT INTO mover_step VALUES (0)',
    'INSERT INTO mover_step VALUES (0)',
    'UPDATE mover SET step = 0',
    'DELETE FROM mover',
    'INSERT INTO mover (id, step) VALUES (1, 5)',
  ]
  const outcomes = async (engine: typeof now) => {
    const said: string[] = []
    for (const sql of attempts)
      said.push(
        await engine.batch([{ sql }]).then(
          () => 'done',
          (error: Error) => error.message,
        ),
      )
    return said
  }
  expect(await outcomes(now)).toEqual(await outcomes(before))
  expect((await outcomes(now)).slice(0, 6)).toEqual([
    'done',
    'done',
    'SLOT_FENCED',
    'SLOT_FENCED',
    'SLOT_NOT_OWNED',
    'SLOT_NOT_OWNED',
  ])
})
