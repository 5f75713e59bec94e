import { expect, test } from 'vitest'
import { type Answer, answerOf, DatabaseError, isTaken } from '../../../src/sharding/answers.ts'
import { connectionLost } from '../../support/sharding-doubles.ts'
import { databases, rejectionOf } from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const constraint = (sqliteCode: string): Answer => ({ kind: 'constraint', sqliteCode })
const statement = (sqliteCode: string): Answer => ({ kind: 'statement', sqliteCode })
const SLOT_ROW = "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '00aa', 'active', 1)"

/** D1's real errors and their meaning. Each statement is sent alone and as the second statement of a batch. */
const refused: [string, string, unknown[], Answer][] = [
  [
    'RAISE of a view’s trigger',
    "INSERT INTO slot_guard VALUES ('users', 'ffff')",
    [],
    { kind: 'refused', code: 'SLOT_NOT_OWNED' },
  ],
  ['RAISE of a table’s trigger', 'DELETE FROM mover', [], { kind: 'refused', code: 'MOVER_ROW_STAYS' }],
  ['PRIMARY KEY', `${SLOT_ROW}, ('users', '00aa', 'active', 1)`, [], constraint('SQLITE_CONSTRAINT_PRIMARYKEY')],
  ['UNIQUE', "INSERT INTO names VALUES ('ada'), ('ada')", [], constraint('SQLITE_CONSTRAINT_UNIQUE')],
  [
    'NOT NULL',
    "INSERT INTO slots (keyspace, slot, state) VALUES ('users', '00ab', 'active')",
    [],
    constraint('SQLITE_CONSTRAINT_NOTNULL'),
  ],
  ['CHECK', "INSERT INTO slots VALUES ('users', '00ab', 'odd', 1, NULL)", [], constraint('SQLITE_CONSTRAINT_CHECK')],
  ['datatype mismatch', "UPDATE slot_changes SET seq = 'text'", [], statement('SQLITE_MISMATCH')],
  ['syntax error', 'SELEC 1', [], statement('SQLITE_ERROR')],
  ['no such column', 'SELECT none FROM slots', [], statement('SQLITE_ERROR')],
  ['integer overflow at run time', 'SELECT abs(-9223372036854775808)', [], statement('SQLITE_ERROR')],
  ['more than 100 parameters', `SELECT ${Array(101).fill('?').join()}`, Array(101).fill(1), statement('SQLITE_ERROR')],
  ['not authorized', "ATTACH 'x' AS y", [], statement('SQLITE_AUTH')],
  ['no such table', 'SELECT * FROM later', [], { kind: 'not-migrated' }],
  ['too few values', 'SELECT ?, ?', [1], statement('SQLITE_MISUSE')],
  ['too many values', 'SELECT ?', [1, 2], statement('SQLITE_MISUSE')],
  ['no statement', '', [], statement('SQLITE_MISUSE')],
  ['a transaction', 'BEGIN', [], statement('SQLITE_MISUSE')],
  ['two semicolons', 'SELECT 1;;', [], statement('SQLITE_MISUSE')],
  ['a comment after the last semicolon', 'DELETE FROM slot_changes; -- all', [], statement('SQLITE_MISUSE')],
  ['values for the first of two statements', 'SELECT ?; SELECT 1', [1], statement('SQLITE_MISUSE')],
  ['a NUL', 'SELECT 1 \0', [], statement('SQLITE_MISUSE')],
  ['undefined', 'SELECT ?', [undefined], statement('SQLITE_MISUSE')],
  ['an object', 'SELECT ?', [{}], statement('SQLITE_MISUSE')],
  ['a bigint', 'SELECT ?', [1n], statement('SQLITE_MISUSE')],
]

test.each(refused)('%s', async (name, sql, values, answer) => {
  await shard.prepare('CREATE TABLE IF NOT EXISTS names (name TEXT UNIQUE)').run()
  await shard.prepare("INSERT INTO slot_changes (move_id, tbl, pk) VALUES ('m', 't', '[]')").run()
  const alone = async () =>
    shard
      .prepare(sql)
      .bind(...values)
      .run()
  const batched = async () => shard.batch([shard.prepare(SLOT_ROW), shard.prepare(sql).bind(...values)])
  expect([name, answerOf(await rejectionOf(alone()))]).toEqual([name, answer])
  if (sql !== '' && name !== 'PRIMARY KEY')
    expect([name, answerOf(await rejectionOf(batched()))]).toEqual([name, answer])
  // "Nothing was applied" is true: the batch's first statement is undone.
  expect(await shard.prepare("SELECT count(*) AS n FROM slots WHERE slot = '00aa'").first('n')).toBe(0)
})

test.each([
  connectionLost(),
  new Error('D1_ERROR: D1 DB is overloaded. Requests queued for too long.'),
  new Error('no answer within 2000 ms'),
  new Error('D1_ERROR: Internal error in D1 DB storage caused object to be reset.'),
  new Error('D1_ERROR: database is locked: SQLITE_BUSY'),
  new Error('an error that is not known yet'),
  'not even an error',
])('%s may have been applied', (error) => {
  expect(answerOf(error)).toEqual({ kind: 'transient' })
})

/** More texts of the runtime for statements that it refuses. Its version decides which one it uses. */
test.each([
  'D1_ERROR: A prepared SQL statement must contain only one statement.',
  'D1_ERROR: A SQL prepared statement can only be executed once at a time.',
  'D1_ERROR: When executing multiple SQL statements in a single call, only the last statement can have parameters.',
])('%s: nothing was applied', (text) => {
  expect(answerOf(new Error(text))).toEqual(statement('SQLITE_MISUSE'))
})

/** As published by Cloudflare: D1's list of errors, and the changelog of 2026-09-01. */
test.each([
  ['D1_ERROR: database or disk is full: SQLITE_FULL', 'full'],
  ['D1_ERROR: Exceeded maximum DB size.', 'full'],
  [
    "D1_ERROR: Your account has exceeded D1's maximum account storage limit, please contact Cloudflare to raise your limit.",
    'full',
  ],
  ['D1_ERROR: D1 DB is overloaded. Too many requests queued.', 'overloaded'],
  [
    "D1_ERROR: Your account has exceeded D1's free tier daily row read limit. Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue.",
    'daily-limit',
  ],
  [
    "D1_ERROR: Your account has exceeded D1's free tier daily row write limit. Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue.",
    'daily-limit',
  ],
])('%s: nothing was applied', (text, kind) => {
  expect(answerOf(new Error(text))).toEqual({ kind })
})

test('a constraint error that quotes such a text is still a constraint error', () => {
  const quoted = new Error('D1_ERROR: CHECK constraint failed: D1 DB is overloaded: SQLITE_CONSTRAINT')
  expect(answerOf(quoted).kind).toBe('constraint')
})

test('a taken key is distinguished from a taken key of another table, and from other constraints', async () => {
  const error = await rejectionOf(shard.prepare(`${SLOT_ROW}, ('users', '00aa', 'active', 1)`).run())
  const taken = new DatabaseError('DATABASE_CONSTRAINT', 'SQLITE_CONSTRAINT_PRIMARYKEY', error)
  expect([isTaken(taken, 'slots'), isTaken(taken, 'slot'), isTaken(taken, 'claims')]).toEqual([true, false, false])
  const other = ['SQLITE_CONSTRAINT_NOTNULL', 'SQLITE_ERROR'].map(
    (code) => new DatabaseError('DATABASE_CONSTRAINT', code, error),
  )
  expect(other.map((one) => isTaken(one, 'slots'))).toEqual([false, false])
})
