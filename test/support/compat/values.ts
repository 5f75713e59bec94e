import type { Question } from './comparison.ts'
import { plain } from './fixture.ts'
import { batchQuestion, freeQuestion, type Method, question } from './raw-api.ts'

const view = new Uint8Array([9, 1, 2, 3, 9])

/** Values to bind, and values that D1 refuses when they are bound or sent. */
const values: Record<string, () => unknown> = {
  null: () => null,
  true: () => true,
  false: () => false,
  zero: () => 0,
  'minus zero': () => -0,
  'a fraction': () => -1.5,
  'the largest safe integer': () => Number.MAX_SAFE_INTEGER,
  '2^53 + 2': () => 2 ** 53 + 2,
  '2^63': () => 2 ** 63,
  '-2^63': () => -(2 ** 63),
  'a huge number': () => 1e300,
  'a tiny number': () => 5e-324,
  'not a number': () => Number.NaN,
  infinity: () => Number.POSITIVE_INFINITY,
  'minus infinity': () => Number.NEGATIVE_INFINITY,
  'no text': () => '',
  'a text with NUL': () => 'a\0b',
  'only NUL': () => '\0',
  emoji: () => '🌳 é ẞ ﷽',
  'a lone surrogate': () => 'a\ud800b',
  'a text that looks like SQL': () => "'; DELETE FROM items; --",
  'a text of 100,000 characters': () => 'é'.repeat(100_000),
  'an empty ArrayBuffer': () => new ArrayBuffer(0),
  'an ArrayBuffer': () => new Uint8Array([0, 1, 255]).buffer,
  'a Uint8Array': () => new Uint8Array([0, 1, 255]),
  'an empty Uint8Array': () => new Uint8Array(),
  'a part of a buffer': () => view.subarray(1, 4),
  'a Uint8ClampedArray': () => new Uint8ClampedArray([0, 300]),
  'an Int8Array': () => new Int8Array([-1, 1]),
  'a Uint16Array': () => new Uint16Array([1, 300]),
  'a Float32Array': () => new Float32Array([1.5, 2]),
  'a Float64Array of no number': () => new Float64Array([Number.NaN, 1]),
  'a BigInt64Array': () => new BigInt64Array([1n]),
  'a DataView': () => new DataView(new Uint8Array([1, 2]).buffer),
  'a Node Buffer': () => Buffer.from([1, 2]),
  'an array of bytes': () => [0, 1, 255],
  'an empty array': () => [],
  'an array of fractions': () => [1.5, 255.9],
  'an array with holes': () => new Array(2),
  'an array of no number': () => [Number.NaN],
  'an array beyond a byte': () => [1, 256],
  'an array with a negative number': () => [-1],
  'an array of texts': () => ['a'],
  'an array in an array': () => [[1]],
  undefined: () => undefined,
  'an object': () => ({}),
  'an object of a class': () => new Map([[1, 2]]),
  'an object without prototype': () => Object.create(null) as object,
  'an object with toString': () => ({ toString: () => 'text', toJSON: () => 'json' }),
  'a Date': () => new Date(0),
  'a bigint': () => 1n,
  'a symbol': () => Symbol('s'),
  'a function': () => () => 1,
  'a String object': () => new String('s'),
}

const asked: Method[] = ['all', 'raw', 'batch beside a write']
const written: Method[] = ['run', 'raw with names', 'batch beside a read']

/** Each value, read back and stored. */
export const valueQuestions: Question[] = Object.entries(values).flatMap(([name, value]) => [
  ...asked.map((method) =>
    question(
      `${name}`,
      { sql: 'SELECT ?1 AS v, typeof(?1) AS t, substr(hex(?1), 1, 40) AS h', values: [value()] },
      method,
      false,
    ),
  ),
  ...written.map((method) =>
    question(
      `${name}, stored`,
      { sql: 'INSERT INTO serials (label) VALUES (?) RETURNING label, typeof(label), label', values: [value()] },
      method,
      true,
    ),
  ),
])

const INSERT = 'INSERT INTO serials (label) VALUES (?)'
const FILL = [1, 2, 3]

type Scratch = (database: D1Database) => { value: unknown; fill(n: number): void }
const scratches: Record<string, Scratch> = {
  'a Uint8Array': () => {
    const value = new Uint8Array(2)
    return { value, fill: (n) => value.fill(n) }
  },
  'an ArrayBuffer': () => {
    const bytes = new Uint8Array(2)
    return { value: bytes.buffer, fill: (n) => bytes.fill(n) }
  },
  'a part of a buffer': () => {
    const bytes = new Uint8Array(6)
    return { value: bytes.subarray(2, 4), fill: (n) => bytes.fill(n) }
  },
  // D1 does not copy an array. Its answer for a buffer is expected (docs/sharding.md, `bound-array`).
  'an array': (database) => {
    const value = database === plain ? new Uint8Array(2) : [0, 0]
    return { value, fill: (n) => value.fill(n) }
  },
}

/** A buffer that is refilled and bound again. D1 keeps the content at the time of each bind. */
export const scratchQuestions: Question[] = Object.entries(scratches).flatMap(([name, scratch]) => [
  freeQuestion(
    `${name} that is refilled and bound again, in a batch`,
    (database) => {
      const { value, fill } = scratch(database)
      return database.batch(
        FILL.map((n) => {
          fill(n)
          return database.prepare(`${INSERT} RETURNING label`).bind(value)
        }),
      )
    },
    true,
  ),
  freeQuestion(`${name} that is refilled and bound again, each alone`, (database) =>
    boundAgain(database, scratch(database)),
  ),
  freeQuestion(`${name} that is refilled after it was sent`, async (database) => {
    const { value, fill } = scratch(database)
    fill(1)
    const bound = () => database.prepare('SELECT hex(?) AS h').bind(value)
    const sent = [bound().all(), bound().raw(), bound().run(), bound().first()]
    const batch = database.batch([bound()])
    fill(2)
    return [await Promise.all(sent), await batch]
  }),
  freeQuestion(
    `${name} that is refilled after its write was sent`,
    async (database) => {
      const { value, fill } = scratch(database)
      fill(1)
      const sent = [
        database.prepare(`${INSERT} RETURNING hex(label)`).bind(value).raw(),
        database.batch([database.prepare(INSERT).bind(value)]).then((answers) => answers.length),
      ]
      fill(2)
      return Promise.all(sent)
    },
    true,
  ),
])

/** Bound three times, and sent while it holds the last content. */
async function boundAgain(database: D1Database, { value, fill }: ReturnType<Scratch>): Promise<unknown> {
  const statement = database.prepare('SELECT hex(?) AS h')
  const bound = FILL.map((n) => {
    fill(n)
    return statement.bind(value)
  })
  return [await bound[0]!.first('h'), await bound[1]!.raw(), await bound[2]!.all()]
}

/** An array of D1's own beside a buffer. The row is needed and defines the expected answer. */
export const arrayQuestion: Question = {
  ...freeQuestion('an array that is refilled after it was bound', async (database) => {
    const array = [0, 0]
    const own = await boundAgain(database, { value: array, fill: (n) => array.fill(n) })
    return database === plain ? { own, copied: await boundAgain(database, scratches['a Uint8Array']!(database)) } : own
  }),
  differs: 'bound-array',
}

/** A statement is immutable: binding creates another one, and each may be sent twice. */
export const statementQuestions: Question[] = [
  freeQuestion('one statement, bound twice', async (database) => {
    const statement = database.prepare('SELECT ? AS value')
    const [first, second] = [statement.bind('first'), statement.bind('second')]
    return [await first.first('value'), await second.raw(), await first.bind('third').first('value'), await first.raw()]
  }),
  freeQuestion('one statement, sent twice', async (database) => {
    const statement = database.prepare('SELECT id, id FROM items ORDER BY id')
    return [await statement.raw(), await statement.all(), await statement.raw({ columnNames: true })]
  }),
  freeQuestion('statements sent at once', (database) =>
    Promise.all([1, 2, 3].map((n) => database.prepare('SELECT ? AS n, ? AS m').bind(n, n).raw())),
  ),
  freeQuestion(
    'one write, twice in a batch',
    (database) => {
      const statement = database.prepare("INSERT INTO serials (label) VALUES ('x') RETURNING id, id")
      return database.batch([statement, statement])
    },
    true,
  ),
  batchQuestion('reads of one name twice', [{ sql: 'SELECT id, id, 1 FROM items' }, { sql: 'VALUES (1, 2)' }]),
  batchQuestion('reads, PRAGMA and EXPLAIN', [
    { sql: 'PRAGMA table_info(pairs)' },
    { sql: 'EXPLAIN QUERY PLAN SELECT 1' },
    { sql: 'SELECT 1 WHERE 0' },
  ]),
  batchQuestion('writes, and reads of their effects', [
    { sql: 'SELECT count(*) AS n FROM items' },
    { sql: 'UPDATE items SET n = 1 RETURNING id, n' },
    { sql: "WITH two AS (SELECT replace('two', 't', 'T') AS t) SELECT t FROM two" },
    { sql: 'SELECT sum(n) AS n, changes() AS c, last_insert_rowid() AS l FROM items' },
    { sql: 'DELETE FROM items WHERE id = ?', values: ['00aa-a'] },
    { sql: 'SELECT changes() AS c' },
    { sql: "INSERT INTO items (id, name) VALUES ('00aa-e', 'noted')" },
    { sql: 'SELECT changes() AS c, last_insert_rowid() AS l' },
    { sql: 'UPDATE items SET n = 1 WHERE 0' },
    { sql: 'SELECT changes() AS c' },
  ]),
  batchQuestion(
    'sixty writes',
    Array.from({ length: 60 }, (_, n) => ({ sql: 'INSERT INTO serials (label) VALUES (?)', values: [n] })),
  ),
  batchQuestion('a write with a cascade, a trigger and two statements', [
    { sql: "DELETE FROM items WHERE id = '00aa-a'" },
    { sql: "UPDATE items SET name = 'renamed'" },
    { sql: 'DELETE FROM serials WHERE id = 1; DELETE FROM serials WHERE id = 2' },
  ]),
]
