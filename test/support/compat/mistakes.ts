import type { Question } from './comparison.ts'
import { batchQuestion, freeQuestion, type Method, product, question, type Statement } from './raw-api.ts'

const texts = (...sql: string[]): Statement[] => sql.map((one) => ({ sql: one }))

const places = (count: number) => Array.from({ length: count }, () => '?').join(', ')
const zeros = (count: number) => Array.from({ length: count }, () => 0)

/** Statements that D1 refuses or answers in a way of its own, as a read and as a write if both exist. */
const refused: Record<string, Statement[]> = {
  'syntax error': texts(
    'SELECT FROM',
    'SELEC 1',
    'SELECT id FROM items WHERE',
    'SELECT id,, n FROM items',
    "SELECT 'a",
    'SELECT "id FROM items',
    'SELECT (1',
    'SELECT 1)',
    'SELECT * FROM (SELECT 1',
    'SELECT * FROM items ORDER id',
    'SELECT id FROM items LIMIT',
    '  \n SELECT\n  id id id FROM items',
    'SELECT é FROM ☃ WHERE é é é',
    'WITH a AS (SELECT 1)',
    'VALUES 1',
    'VALUES (1), (1, 2)',
    'PRAGMA table_info(',
    'EXPLAIN SELECT FROM',
    'UPDATE items SET',
    'UPDATE items SET n = 1 WHERE WHERE',
    'UPDATE items SET n = 1 RETURNING',
    'UPDATE items SET n = 1 RETURNING id,, n',
    'INSERT INTO items',
    "INSERT INTO items VALUES ('00aa-d')",
    'DELETE items',
    'DELETE FROM serials RETURNING (id',
    "SELECT x'0'",
    'SELECT 1 @',
    'SELECT $',
  ),
  'no such column': texts(
    'SELECT none FROM items',
    'SELECT id FROM items WHERE none = 1',
    'SELECT id FROM items ORDER BY none',
    'SELECT "none" FROM items',
    'SELECT items.none, id FROM items',
    'UPDATE items SET none = 1',
    'UPDATE items SET n = 1 RETURNING none',
    'INSERT INTO items (none) VALUES (1)',
    "INSERT INTO items (id, name) VALUES ('00aa-a', 'x') ON CONFLICT (none) DO NOTHING",
    "INSERT INTO items (id, name) VALUES ('00aa-a', 'x') ON CONFLICT (name) DO NOTHING",
    'DELETE FROM items WHERE none = 1',
    'SELECT id FROM items JOIN parts ON item_id = items.id',
  ),
  'no such table': texts(
    'SELECT * FROM none',
    'SELECT id FROM items JOIN "no; ne" ON 1',
    'UPDATE none SET n = 1',
    'INSERT INTO none VALUES (1)',
    'DELETE FROM none RETURNING id',
    'DROP TABLE none',
    'CREATE INDEX made_index ON none (id)',
    'WITH p AS (SELECT * FROM none) SELECT * FROM p',
  ),
  'no such function': texts(
    'SELECT none(1)',
    'SELECT upper()',
    'SELECT sum(sum(n)) FROM items',
    'SELECT id FROM items WHERE count(*) > 1',
    'UPDATE items SET n = none(n)',
    'UPDATE items SET n = 1 RETURNING count(*)',
    'SELECT likelihood(1, 2)',
    "SELECT * FROM items WHERE name MATCH 'x'",
    "SELECT load_extension('x')",
    'SELECT id FROM items ORDER BY name COLLATE none',
    'SELECT id FROM items INDEXED BY none',
    'CREATE VIRTUAL TABLE made USING none(id)',
  ),
  constraint: texts(
    "INSERT INTO items (id, name) VALUES ('00aa-a', 'again')",
    "INSERT INTO items (id, name) VALUES ('00aa-d', 'd'), ('00aa-a', 'again') RETURNING id, id",
    "INSERT INTO items (id) VALUES ('00aa-d')",
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', 1000)",
    'UPDATE items SET n = n + 998',
    "UPDATE items SET name = NULL WHERE id = '00aa-a' RETURNING id",
    "INSERT INTO parts VALUES ('00aa-d', '00aa-a', 'stem')",
    "INSERT INTO parts VALUES ('00aa-d', '00aa-none', 'x')",
    "UPDATE parts SET item_id = '00aa-none'",
    "INSERT INTO pairs VALUES ('00aa-x', 'y', 3)",
    "INSERT INTO serials VALUES (1, 'again')",
    "INSERT INTO serials VALUES ('x', 'text')",
    "INSERT INTO strict_values VALUES (2, 'text', 'x')",
    "INSERT INTO strict_values VALUES (2, 1, x'00')",
    "INSERT OR FAIL INTO serials VALUES (20, 'a'), (1, 'again')",
  ),
  'refusal of a trigger': texts(
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', -1)",
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', -1) RETURNING id",
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', 1), ('00aa-e', 'e', -1)",
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', -2)",
    "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', 1), ('00aa-e', 'e', -3)",
  ),
  'wrong count of values': [
    { sql: 'SELECT ?, ?' },
    { sql: 'SELECT ?, ?', values: [1] },
    { sql: 'SELECT ?', values: [1, 2] },
    { sql: 'SELECT 1', values: [1] },
    { sql: 'SELECT ?3', values: [1] },
    { sql: 'SELECT :name', values: [1] },
    { sql: 'UPDATE items SET n = ? WHERE id = ?', values: [1] },
    { sql: 'DELETE FROM serials', values: [1] },
    { sql: 'INSERT INTO serials (label) VALUES (?) RETURNING id' },
    { sql: `SELECT ${places(100)}`, values: zeros(100) },
    { sql: `SELECT ${places(101)}`, values: zeros(101) },
    { sql: `DELETE FROM serials WHERE id IN (${places(101)})`, values: zeros(101) },
  ],
  'no statement': texts(
    '',
    '   \n',
    '-- nothing',
    '  -- nothing\n  -- more',
    '/* nothing */',
    ';',
    ' ; ;',
    '-- nothing\n;',
    '/* never',
  ),
  'two statements': [
    ...texts(
      'SELECT 1 WHERE 0; /*#*/ SELECT none',
      'SELECT none; /*#*/ DELETE FROM serials',
      'DELETE FROM serials; /*#*/ SELECT none',
      'DELETE FROM serials; /*#*/ UPDATE items SET n = 1000',
      'DELETE FROM serials; /*#*/ \nSELEC 1',
      'SELECT 1 WHERE 0; -- a\n; /*#*/ SELECT 2 AS id /* b */;',
    ),
    { sql: 'SELECT ? WHERE 0; /*#*/ SELECT ?', values: [1, 2] },
    { sql: 'SELECT 1 WHERE 0; /*#*/ SELECT ? AS id', values: [1] },
    { sql: 'DELETE FROM serials WHERE id = ?; /*#*/ SELECT 1 AS id', values: [1] },
    { sql: 'DELETE FROM serials; /*#*/ SELECT ? AS id, 2 AS id', values: [1] },
  ],
  'transaction control': texts(
    'BEGIN',
    'begin immediate',
    'COMMIT',
    'END',
    'ROLLBACK',
    'SAVEPOINT a',
    'RELEASE a',
    'ROLLBACK TO a',
    'BEGIN; DELETE FROM serials; COMMIT',
    '/* a */ BEGIN',
  ),
  'not allowed': texts(
    "ATTACH 'x' AS y",
    'DETACH y',
    'VACUUM',
    'PRAGMA journal_mode = wal',
    'PRAGMA foreign_keys = off',
    'PRAGMA user_version = 1',
    'PRAGMA none',
    'CREATE TEMP TABLE made (id)',
    'SELECT * FROM temp.none',
    'CREATE TABLE _cf_made (id)',
    'SELECT * FROM _cf_KV',
    'DELETE FROM sqlite_schema',
    'SELECT sqlite_version()',
  ),
  'error while it runs': texts(
    'SELECT abs(-9223372036854775808)',
    'SELECT sum(9223372036854775807) FROM items',
    "SELECT json('{')",
    "SELECT json_extract('{}', 'a')",
    'SELECT zeroblob(3000000000)',
    'SELECT n, abs(-9223372036854775807 - n) FROM items WHERE n IS NOT NULL ORDER BY n',
    "UPDATE items SET n = json('{')",
    'INSERT INTO serials (label) SELECT json(name) FROM items',
    "SELECT name FROM items WHERE name LIKE '%12345678901234567890123456789012345678901234567890123456789%'",
    'SELECT RAISE(ABORT, 1)',
  ),
  'too large': [
    { sql: `SELECT '${'x'.repeat(100_001)}' AS id` },
    { sql: `UPDATE items SET name = '${'x'.repeat(100_001)}'` },
    { sql: `SELECT ${Array.from({ length: 101 }, (_, n) => n).join(', ')}` },
    { sql: `SELECT ${Array.from({ length: 200 }, () => '1').join(' + ')}` },
    { sql: Array.from({ length: 12 }, (_, n) => `SELECT ${n} AS id`).join(' UNION ALL ') },
    { sql: `SELECT max(${zeros(130).join(', ')})` },
    { sql: 'SELECT hex(zeroblob(1500000)) AS id' },
  ],
}

const asked: Method[] = ['all', 'first', 'run', 'raw', 'batch', 'batch beside a read']

/** By kind of mistake. */
export const mistakes: Record<string, Question[]> = Object.fromEntries(
  Object.entries(refused).map(([kind, statements]) => [
    kind,
    product(Object.fromEntries(statements.map((statement, n) => [`${kind} ${n + 1}`, statement])), true, asked),
  ]),
)

const UPDATE = { sql: 'UPDATE items SET n = 7' }

const long = ['x'.repeat(2_100_000)]

/** D1 takes texts of 100,000 bytes; this one is 8 bytes shorter. */
const nearlyTooLong = (sql: string) => `${sql} /*${'x'.repeat(99_988 - sql.length)}*/`

/** `raw()` of a write that repeats a column sends a longer text than it was given. */
export const textsAtTheLimit: Question[] = [
  ...product({ 'a text at the limit': { sql: nearlyTooLong('SELECT id, id, 1 FROM items ORDER BY id') } }, false, [
    'all',
    'raw',
  ]),
  ...product({ 'a text at the limit': { sql: nearlyTooLong('DELETE FROM serials RETURNING id, id, 1') } }, true, [
    'run',
    'raw',
  ]),
].map((one) => (one.name.startsWith('raw of') && one.changesRows ? { ...one, differs: 'text-at-the-limit' } : one))

/** Over 2 MB, the most that D1 takes as a value or stores. */
export const longTexts: Question[] = [
  question('a long text', { sql: 'SELECT length(?) AS id', values: long }, 'raw', false),
  question('a long text, stored', { sql: 'INSERT INTO serials (label) VALUES (?)', values: long }, 'run', true),
]

/** None of these batches changes anything. */
export const failedBatches: Question[] = [
  batchQuestion('a write and a syntax error', [UPDATE, { sql: 'SELECT FROM' }]),
  batchQuestion('a write and an unknown table', [UPDATE, { sql: 'SELECT * FROM none' }]),
  batchQuestion('a write and an unknown column', [UPDATE, { sql: 'UPDATE items SET none = 1' }]),
  batchQuestion('a write and a violated constraint', [UPDATE, { sql: 'INSERT INTO serials VALUES (1, 1)' }, UPDATE]),
  batchQuestion('a write and a refusal of a trigger', [
    UPDATE,
    { sql: "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', -1)" },
  ]),
  batchQuestion('a write and an error while it runs', [UPDATE, { sql: "SELECT json('{')" }]),
  batchQuestion('a write and too many values', [UPDATE, { sql: 'SELECT ?', values: [1, 2] }]),
  batchQuestion('a write and a transaction', [UPDATE, { sql: 'COMMIT' }]),
  batchQuestion('a read and a syntax error', [{ sql: 'SELECT 1' }, { sql: 'SELECT 1 FROM' }]),
  batchQuestion('a foreign key that is right at the end', [
    { sql: 'PRAGMA defer_foreign_keys = on' },
    { sql: "INSERT INTO parts VALUES ('00aa-d', '00aa-later', 'x')" },
    { sql: "INSERT INTO items (id, name) VALUES ('00aa-later', 'x')" },
  ]),
  batchQuestion('no statement', []),
  freeQuestion('a batch with a value that can’t be bound', (database) =>
    database.batch([database.prepare('SELECT ?').bind({})]),
  ),
]

const FIRST = 'SELECT id, NULL AS nix FROM items ORDER BY id'
const columns = ['none', '', 'ID', 'constructor', 'toString', '__proto__', 'nix', '0', 'items.id']

/** `first` with a column that does not exist or that only JavaScript knows. */
export const firstQuestions: Question[] = columns.flatMap((column) => [
  question(`column ${JSON.stringify(column)}`, { sql: FIRST, column }, 'first(column)', false),
  question(`column ${JSON.stringify(column)} of no row`, { sql: `${FIRST} LIMIT 0`, column }, 'first(column)', false),
  question(
    `column ${JSON.stringify(column)} of a write`,
    { sql: 'UPDATE items SET n = 3 RETURNING id, NULL AS nix', column },
    'first(column)',
    true,
  ),
])
