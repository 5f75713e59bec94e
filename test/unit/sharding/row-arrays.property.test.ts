import fc from 'fast-check'
import { expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { SimulatedShard } from '../../simulation/database.ts'
import { routedShards } from '../../support/sharding-doubles.ts'

const SLOT = '00aa'

const sqlite = migratedDatabase()
sqlite.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, "2" TEXT, b REAL, "a ""b" TEXT, data BLOB, n INTEGER);
  INSERT INTO t VALUES (1, 'two', 1, 'x; y', x'00ff', 9007199254740991), (2, NULL, 2.5, '--', NULL, -1);
  INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '${SLOT}', 'active', 1)`)
const shard = new SimulatedShard(sqlite).connection(async (_, execute) => execute())
const { shards } = routedShards({ databases: { SHARD_000: shard } })
const exact = shards.of(SLOT, { read: 'exact' })

/** A statement's arrays with names, or the text of its error. */
async function answerOf(database: D1Database, sql: string): Promise<unknown> {
  try {
    const statement = database.prepare(sql)
    return [await statement.raw(), await statement.raw({ columnNames: true })]
  } catch (error) {
    return (error as Error).message
  }
}

const gap = fc.constantFrom(' ', '  ', '\n', ' /* , RETURNING */ ', ' -- ; x\n')
const spaced = (...pieces: (string | fc.Arbitrary<string>)[]): fc.Arbitrary<string> =>
  fc
    .tuple(...pieces.flatMap((piece) => [typeof piece === 'string' ? fc.constant(piece) : piece, gap]))
    .map((parts) => parts.join(''))

const operand = fc.constantFrom(
  'id',
  'ID',
  'n',
  'b',
  '"a ""b"',
  '[2]',
  '`data`',
  't.n',
  'rowid',
  '1',
  "'x, y'",
  "x'01'",
  'NULL',
  '-1.5e3',
)
const expression = fc.oneof(
  { weight: 4, arbitrary: operand },
  spaced(
    operand,
    fc
      .constantFrom('+', '||', 'AND', 'IS', 'IS NOT', 'LIKE', 'IN', '=', 'IS DISTINCT FROM')
      .chain((operator) => (operator === 'IN' ? fc.constant('IN (1, 2)') : spaced(operator, operand))),
  ),
  spaced('CASE', operand, 'WHEN 1 THEN', operand, 'END'),
  spaced('(', operand, ')'),
  spaced('NOT', operand),
  spaced(
    operand,
    fc.constantFrom('ISNULL', 'NOTNULL', 'NOT NULL', 'COLLATE nocase', 'COLLATE "binary"', 'BETWEEN 1 AND 2'),
  ),
  spaced('CAST(', operand, 'AS text)'),
  fc.constantFrom(
    'coalesce(n, b)',
    "replace('a, b', ',', ';')",
    '(SELECT max(n) FROM t AS u)',
    'EXISTS (SELECT 1)',
    'current_date',
  ),
)
const alias = fc.constantFrom('x', 'id', '"1"', "'te,xt'", '[a b]', '"id:1"', 'end', '`n`', 'like_', '"column 0"')
const column = fc.oneof(
  { weight: 3, arbitrary: expression },
  spaced(expression, 'AS', alias),
  spaced(expression, alias),
)
const listOf = (item: fc.Arbitrary<string>) =>
  fc.array(item, { minLength: 1, maxLength: 5 }).map((list) => list.join(','))
const where = fc.constantFrom('', 'WHERE 0', 'WHERE id = 1')
const tail = fc.constantFrom('', ';', ' -- x', ' /* open')

const write = spaced(
  fc.constantFrom('', "WITH c AS (SELECT ';' AS s)", 'WITH t AS (SELECT 5 AS five)'),
  fc.constantFrom('UPDATE t SET n = n', 'UPDATE OR IGNORE main.t SET n = n', 'UPDATE "t" AS other SET n = n'),
  where,
  'RETURNING',
  listOf(fc.oneof({ weight: 5, arbitrary: column }, fc.constant('*'))),
)
const query = spaced(
  'SELECT',
  listOf(fc.oneof({ weight: 5, arbitrary: column }, fc.constantFrom('*', 't.*'))),
  'FROM t',
  where,
)

test.each([
  ['RETURNING', write],
  ['an exact query', query],
])('%s returns the same arrays and names as the database', async (_, statement) => {
  let answers = 0
  await fc.assert(
    fc.asyncProperty(statement, tail, async (sql, end) => {
      // An unclosed comment is part of the last name if that is an expression. That one name is not compared.
      const text = sql.trimEnd() + end
      const expected = await answerOf(shard, text)
      const answer = await answerOf(exact, text)
      if (typeof expected !== 'string') answers++
      if (end.includes('open') && Array.isArray(expected)) expect((answer as unknown[])[0]).toEqual(expected[0])
      else expect(answer).toEqual(expected)
    }),
    { numRuns: 300 },
  )
  expect(answers).toBeGreaterThan(150)
})
