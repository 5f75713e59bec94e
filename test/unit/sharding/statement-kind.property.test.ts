import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { statementKind } from '../../../src/sharding/statement-kind.ts'

/**
 * node:sqlite has no `sqlite3_stmt_readonly()`. Therefore a text is run, and rows, schema and settings are compared
 * with those before.
 */
const settings = ['user_version', 'application_id', 'foreign_keys', 'recursive_triggers', 'ignore_check_constraints']

function newDatabase(): DatabaseSync {
  const database = new DatabaseSync(':memory:', { enableForeignKeyConstraints: false })
  database.exec(`CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, "delete" TEXT);
    CREATE TABLE log (a TEXT);
    CREATE TRIGGER logged AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (OLD.a); END;
    INSERT INTO t VALUES (1, 'x; y', 'd'), (2, '-- z', NULL), (3, 'it''s', '/*')`)
  return database
}

function stateOf(database: DatabaseSync): string {
  const schema = database.prepare('SELECT type, name, sql FROM sqlite_master').all() as { type: string; name: string }[]
  const tables = schema.filter(({ type }) => type === 'table')
  return JSON.stringify([
    database.prepare('SELECT total_changes() AS changes').get(),
    schema,
    tables.map(({ name }) => database.prepare(`SELECT * FROM "${name}"`).all()),
    settings.map((name) => database.prepare(`PRAGMA ${name}`).get()),
  ])
}

/** The effect of a text, when all of its statements run as in `sqlite3_exec()`. */
function effectOf(sql: string): 'writes' | 'nothing' | 'error' {
  const database = newDatabase()
  const before = stateOf(database)
  let failed = false
  try {
    database.exec(sql)
  } catch {
    failed = true
  }
  const hasChanged = database.isTransaction || stateOf(database) !== before
  database.close()
  return hasChanged ? 'writes' : failed ? 'error' : 'nothing'
}

const nasty = ['x; y', '--', '/*', '*/', "it''s", 'DELETE FROM t', '"', '`', '[', ';', 'a;b -- c', '']
const gap = fc.constantFrom(
  ' ',
  ' ',
  '\n',
  '\t\f',
  ' \v ',
  ' \ufeff ',
  ' /* ; DELETE FROM t; */ ',
  " -- it's; DELETE FROM t\n",
  '/**/',
  " /*'*/ ",
)
const literal = fc.oneof(
  fc.constantFrom(...nasty).map((text) => `'${text}'`),
  fc.constantFrom('1', '2.5e3', '0xff', 'NULL', "x'00ff'", '?', '?2', ':a', '@b', '$c'),
)
const name = fc.constantFrom('"delete"', '[update; t]', '`replace`', '"a""b;"', 'n', "'text; name'", '"--"', '[/*]')
const value = fc.oneof(
  literal,
  fc.constantFrom('a', 't.b', '"delete"', "replace(b, ';', '-')", '(SELECT max(a) FROM t)', "b || '; '"),
)

/** Pieces with blanks and comments between them. */
const spaced = (...pieces: (string | fc.Arbitrary<string>)[]): fc.Arbitrary<string> =>
  fc
    .tuple(...pieces.flatMap((piece) => [typeof piece === 'string' ? fc.constant(piece) : piece, gap]))
    .map((parts) => parts.join(''))

const columns = fc
  .array(fc.oneof(value, spaced(value, 'AS', name)), { minLength: 1, maxLength: 3 })
  .map((list) => list.join(', '))
const select = fc.oneof(
  spaced('SELECT', columns, 'FROM t'),
  spaced('select distinct', columns, 'FROM', 't', 'WHERE', value, 'LIMIT 2'),
  spaced('VALUES (', literal, ',', literal, ')'),
  spaced('SELECT', literal, 'UNION ALL SELECT', literal),
)
const expressionName = fc.constantFrom('p', '"insert"', '[q;]', 'recursive_', '"with"')
const tables = fc.oneof(
  spaced('WITH', expressionName, 'AS (', select, ')'),
  spaced('WITH RECURSIVE', expressionName, '(n) AS NOT MATERIALIZED (SELECT', literal, ') , r AS (', select, ')'),
)
const query = fc.oneof(select, spaced(tables, select))
const plainWrite = fc.oneof(
  spaced('DELETE FROM', fc.constantFrom('t', '"t"', '[t]', 'main.t')),
  spaced('UPDATE', 't', 'SET b =', literal, 'RETURNING', columns),
  spaced("INSERT INTO t (b) VALUES ('", fc.constantFrom('SELECT 1; ', '--'), "')"),
  spaced('REPLACE INTO', 't', '(a, b) VALUES (1, ', literal, ')'),
  spaced('INSERT INTO t (b)', fc.constantFrom('SELECT b FROM t', "VALUES (';')")),
)
const write = fc.oneof(plainWrite, spaced(tables, plainWrite))
const setting = fc.constantFrom('PRAGMA user_version = 7', 'PRAGMA recursive_triggers(1)', 'PRAGMA foreign_keys = 1')
const schema = fc.constantFrom(
  'CREATE TABLE u (a)',
  'DROP TABLE t',
  'CREATE INDEX i ON t (b)',
  'ALTER TABLE t RENAME TO u',
)
const report = fc.constantFrom(
  'PRAGMA table_info(t)',
  'PRAGMA foreign_keys',
  "PRAGMA main.index_list('t')",
  'PRAGMA table_list',
)
const tail = fc.constantFrom('', ';', ' ; ;', ' -- ; DELETE FROM t', '; /* DELETE FROM t', '\n;\n')

const reads = fc.oneof(
  spaced(query, tail),
  spaced(report, tail),
  spaced(fc.constantFrom('EXPLAIN', 'EXPLAIN QUERY PLAN'), fc.oneof(query, write), tail),
)
const writes = fc.oneof(
  { weight: 4, arbitrary: spaced(write, tail) },
  { weight: 2, arbitrary: spaced(fc.oneof(query, report), ';', fc.oneof(write, setting, schema), tail) },
  spaced(fc.oneof(setting, schema), tail),
  spaced('EXPLAIN', setting),
)

const runs = { numRuns: 400 }

test('a query that SQLite accepts is a read', () => {
  fc.assert(
    fc.property(reads, (sql) => {
      const effect = effectOf(sql)
      expect(effect).not.toBe('writes')
      if (effect === 'nothing') expect(statementKind(sql).isRead).toBe(true)
    }),
    runs,
  )
})

test('a write is not a read, whatever literals, comments and names are in it', () => {
  let written = 0
  fc.assert(
    fc.property(writes, (sql) => {
      if (effectOf(sql) === 'writes') written++
      expect(statementKind(sql).isRead).toBe(false)
    }),
    runs,
  )
  expect(written).toBeGreaterThan(runs.numRuns / 2)
})

/** Inserted anywhere, these open and close quotes, comments and statements. */
const noise = ["'", '"', '`', '[', ']', ';', '--', '/*', '*/', '\0', '(', ')', '$a(', '\n', ' \v', '\ufeff', "x'", '::']
const cut = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(...noise, '; DELETE FROM t ;'))
const broken = fc.tuple(fc.oneof(reads, writes), fc.array(cut, { minLength: 1, maxLength: 4 })).map(([sql, cuts]) =>
  cuts.reduce((text, [where, what]) => {
    const at = Math.floor(where * text.length)
    return text.slice(0, at) + what + text.slice(at)
  }, sql),
)

test('a broken text that writes is not a read', () => {
  let written = 0
  fc.assert(
    fc.property(broken, (sql) => {
      if (effectOf(sql) !== 'writes') return
      written++
      expect(statementKind(sql).isRead).toBe(false)
    }),
    { numRuns: 1_500 },
  )
  expect(written).toBeGreaterThan(100)
})
