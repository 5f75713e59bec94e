import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/d1'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { rowsTable as posts } from '../../support/rows-table.ts'
import { routedShards } from '../../support/sharding-doubles.ts'
import { databases, setSlot, slotStatement } from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const SLOT = '00aa'
const USER = `${SLOT}01jd0000000000000000000001`
const post = (n: number) => `${SLOT}01jd00000000000000000000p${n}`

const { shards } = routedShards({ databases })
const leased = shards.of(USER)
const exact = shards.of(USER, { read: 'exact' })
const routed: [string, D1Database][] = [
  ['leased', leased],
  ['exact', exact],
  ['in a session', leased.withSession() as unknown as D1Database],
  ['exact in a session', exact.withSession() as unknown as D1Database],
]

/** A builder's tables. `numbers` has numeric column names. `stock` has a trigger that refuses and one that writes. */
beforeAll(async () => {
  await shard.batch(
    [
      'DROP TABLE IF EXISTS numbers',
      'DROP TABLE IF EXISTS stock',
      'DROP TABLE IF EXISTS children',
      'DROP TABLE IF EXISTS parents',
      'DROP TABLE IF EXISTS odd',
      'CREATE TABLE odd (id INTEGER, glob TEXT, "match" TEXT)',
      "INSERT INTO odd VALUES (1, 'g', 'm')",
      'CREATE TABLE numbers (id INTEGER PRIMARY KEY, "2" TEXT, "1" TEXT, ratio REAL, data BLOB)',
      'CREATE TABLE stock (id TEXT PRIMARY KEY, left INTEGER)',
      "CREATE TRIGGER stock_refuses BEFORE UPDATE ON stock WHEN NEW.left < 0 BEGIN SELECT RAISE(ABORT, 'OUT_OF_STOCK'); END",
      "CREATE TRIGGER stock_refuses_softly BEFORE UPDATE ON stock WHEN NEW.left > 99 BEGIN SELECT RAISE(ABORT, 'too many'); END",
      'CREATE TRIGGER stock_writes AFTER DELETE ON stock BEGIN INSERT INTO numbers ("1") VALUES (1), (2); END',
      'CREATE TABLE parents (id INTEGER PRIMARY KEY)',
      'CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id) ON DELETE CASCADE)',
    ].map((text) => shard.prepare(text)),
  )
})

beforeEach(() => refill())

async function refill(state: 'active' | 'moving' = 'active') {
  await shard.batch([
    slotStatement(shard, 'users', SLOT, 'active'),
    ...['posts', 'profiles', 'slot_changes', 'numbers', 'stock', 'children', 'parents'].map((table) =>
      shard.prepare(`DELETE FROM ${table}`),
    ),
    shard.prepare('DELETE FROM numbers'),
    ...[1, 2].map((n) =>
      shard
        .prepare('INSERT INTO posts VALUES (?, ?, ?, ?, ?, 1)')
        .bind(post(n), USER, `text ${n}`, n, n === 1 ? null : 9),
    ),
    shard.prepare("INSERT INTO numbers VALUES (7, 'two', 'one', 3, x'00ff')"),
    shard.prepare("INSERT INTO stock VALUES ('a', 1)"),
    shard.prepare('INSERT INTO parents VALUES (1)'),
    shard.prepare('INSERT INTO children VALUES (1, 1), (2, 1)'),
  ])
  if (state === 'moving') await setSlot(shard, 'users', SLOT, 'moving')
}

/** A value, or everything visible of an error. */
async function outcomeOf(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return { value: await ask() }
  } catch (error) {
    const { message, cause } = error as Error
    return { message, cause: (cause as Error | undefined)?.message }
  }
}

const leavesRows = (text: string) => !/delete|insert|replace into|drop|= '|= \(/i.test(text)

async function expectSame(database: D1Database, ask: (database: D1Database) => Promise<unknown>, text = 'DELETE') {
  const isUnchanged = leavesRows(text)
  if (!isUnchanged) await refill()
  const expected = await outcomeOf(() => ask(shard))
  if (!isUnchanged) await refill()
  const answer = await outcomeOf(() => ask(database))
  expect(answer).toEqual(expected)
  expect(JSON.stringify(answer)).toBe(JSON.stringify(expected))
}

const update = 'UPDATE posts SET text = text'
/** Each is read as arrays with and without names. Statements with WHERE 0 return no rows. */
const statements: Record<string, [string, ...unknown[]]> = {
  'one column twice': [`${update} RETURNING id, id, version`],
  'one column twice, in another case': [`${update} RETURNING id, ID, "Id", version`],
  'a literal number': [`${update} RETURNING text, 1, version`],
  'names that are numbers': [`${update} RETURNING text AS "2", version AS "1", created_at "0"`],
  'aliases of one name': [`${update} RETURNING text AS a, version a, edited_at "a", 1 'a'`],
  'an alias like another column': [`${update} RETURNING version AS id, id`],
  'plain names': [`${update} RETURNING version, posts.text, "created_at", edited_at AS e`],
  'every column': [`${update} RETURNING *`],
  'every column, and one again': [`${update} RETURNING *, version + 1 AS id, text`],
  'every column twice': [`${update} RETURNING *, *`],
  expressions: [
    `${update} RETURNING version+1, version + 1, CASE version WHEN 1 THEN 'a' END, CASE version WHEN 1 THEN 'a' END x,
     text ISNULL, text NOT NULL, text COLLATE nocase, text COLLATE nocase c, (SELECT 1), (SELECT 1), text LIKE 'a%', NULL n,
     cast(version AS text), length(text) l, -version, NOT version, 'a, b', "text"`,
  ],
  comments: [`${update} RETURNING /* a, b */ id, -- c; d\n version + /* e */ 1 /* f */, id -- the end`],
  'a comment as part of the last name': [`${update} RETURNING id, version+1 -- the end`],
  'a comment that is not closed': [`${update} RETURNING id, id /* the end`],
  'a semicolon at the end': [`${update} RETURNING id, id;`],
  values: [`${update} WHERE version = ? RETURNING ?, id, ?2, id`, 1, 'x'],
  'values by number': ['UPDATE posts SET text = ?2 WHERE version = ?1 RETURNING text, ?1, ?3, text', 1, 'two', 'three'],
  'numeric columns': ['UPDATE numbers SET "2" = "2" RETURNING *'],
  'numeric columns by name': ['UPDATE numbers SET "2" = "2" RETURNING "2", "1", id, ratio, data'],
  'the row id under several names': ['UPDATE numbers SET "2" = "2" RETURNING rowid, id, oid'],
  'values of each type': [
    'UPDATE numbers SET "2" = "2" RETURNING ratio, ratio, data, data, NULL, NULL, 9007199254740993, 1.0',
  ],
  'an upsert': [
    `INSERT INTO numbers (id, "1") VALUES (7, 'x') ON CONFLICT (id) DO UPDATE SET "1" = excluded."1" RETURNING id, "1", id`,
  ],
  'a WITH that RETURNING asks': [
    `WITH posts AS (SELECT 'x; RETURNING 1' AS t) UPDATE main.posts SET text = (SELECT t FROM posts) RETURNING id, id, (SELECT t FROM posts)`,
  ],
  'an alias of the table': [`UPDATE posts AS p SET text = 'z' WHERE p.version = 1 RETURNING posts.id, posts.id`],
  'a column whose name is an operator': ['UPDATE odd SET id = id RETURNING glob g, id, id, match'],
  'no rows, one column twice': [`${update} WHERE 0 RETURNING id, id, version`],
  'no rows, plain names': [`${update} WHERE 0 RETURNING TEXT, version`],
  'no rows, every column': ['DELETE FROM numbers WHERE 0 RETURNING *'],
  'no rows, expressions': [`${update} WHERE 0 RETURNING version + 1, 1, (id), ?1`, 5],
  'no RETURNING': [update],
  'a delete': ['DELETE FROM posts RETURNING version, id, version'],
  REPLACE: [`REPLACE INTO numbers (id, "1") VALUES (7, 'x'), (8, 'y') RETURNING "1", "1", id`],
  'two statements': [`DELETE FROM numbers; ${update} RETURNING id, id, 1`],
  'two statements, the last a query': ['DELETE FROM numbers; SELECT id, id, 1 FROM posts'],
  'two statements, the last without rows': ['DELETE FROM numbers; SELECT id, version AS "1" FROM posts WHERE 0'],
  'a table that it creates': ['DROP TABLE IF EXISTS made; CREATE TABLE made (id)'],
  'a join': ['SELECT a.id, b.id, a.version FROM posts a JOIN posts b ON a.id < b.id'],
  'a join, without rows': ['SELECT a.id, b.id, a.version FROM posts a JOIN posts b ON a.id < b.id WHERE 0'],
  group_concat: [
    "SELECT a.id, b.id, group_concat(b.text, '; ') FROM posts a JOIN posts b ON a.id < b.id GROUP BY 1, 2",
  ],
  'replace() in WITH': [
    "WITH p AS (SELECT id, replace(text, 't', 'T') AS text FROM posts) SELECT p.id, posts.id, p.text, posts.text FROM p JOIN posts USING (id) ORDER BY 1",
  ],
  'a semicolon in a literal': ["SELECT a.id, b.id, 'x; y' AS t FROM posts a JOIN posts b ON a.id < b.id"],
  'names of a query': ['SELECT ID, rowid, 1, \'x\', version+1, "1", "2" FROM numbers, (SELECT 1 AS version)'],
  'an alias with a colon': ['SELECT id AS "id:1", id, id, id AS "1" FROM posts ORDER BY 2'],
  'a name of a final comment': ['SELECT 1 -- one'],
  'a final comment that is not closed': ['SELECT id, id FROM posts ORDER BY 1 /* open'],
  VALUES: ['VALUES (1, 2), (3, ?)', 'x'],
  EXPLAIN: ['EXPLAIN QUERY PLAN SELECT id FROM posts'],
  PRAGMA: ['PRAGMA table_info(posts)'],
  'PRAGMA without rows': ['PRAGMA foreign_key_list(posts)'],
  'PRAGMA that is no read': ['PRAGMA foreign_keys = 1'],
  'PRAGMA optimize': ['PRAGMA optimize'],
  // Errors, each with D1's own text and offset.
  'a column that is not there': [`${update} RETURNING id, id, nothing`],
  'a column that is not there, in a query': ['SELECT id, id, nothing FROM posts'],
  'a syntax error': [`${update} RETURNING id, id,`],
  'a syntax error in a query': ['SELECT id, id FROM posts WHERE'],
  'an error at run time': ["SELECT id, id, json('{') FROM posts"],
  'an error at run time, RETURNING': [`${update} RETURNING id, id, json('{')`],
  'an aggregate': [`${update} RETURNING id, id, count(*)`],
  'a comment after the last semicolon': ['SELECT id, id FROM posts; -- the end'],
  'two semicolons': ['SELECT id, id FROM posts;;'],
  'two semicolons, RETURNING': [`${update} RETURNING id, id;;`],
  'too few values': [`${update} RETURNING id, id, ?`],
  'too many values': ['SELECT id, id FROM posts', 1],
  'a bare quote': ["SELECT id, id, 'open FROM posts"],
  'a NUL': ['SELECT id, id \0 FROM posts'],
  blanks: [' \n '],
  'a comment only': ['-- nothing'],
  'semicolons only': [' ; '],
}

describe.each(routed.slice(0, 2))('%s: arrays and names as D1 returns them', (_, database) => {
  test.each(Object.entries(statements))('%s', async (_, [text, ...values]) => {
    const prepared = (on: D1Database) => on.prepare(text).bind(...values)
    await expectSame(database, (on) => prepared(on).raw(), text)
    await expectSame(database, (on) => prepared(on).raw({ columnNames: true }), text)
    await expectSame(database, async (on) => (await prepared(on).all()).results, text)
  })

  test('Drizzle’s returning() with one column under two names', async () => {
    await expectSame(database, (on) =>
      drizzle(on)
        .update(posts)
        .set({ text: 'new' })
        .returning({ first: posts.id, second: posts.id, one: sql<number>`1`, version: posts.version }),
    )
  })
})

describe.each(routed)('%s: a query of any form is a read', (_, database) => {
  const reads = [
    "SELECT group_concat(text, '; ') FROM posts",
    "WITH p AS (SELECT replace('a', 'b', 'c')) SELECT * FROM p",
    'VALUES (1)',
    'PRAGMA table_info(posts)',
    'EXPLAIN DELETE FROM posts',
  ]
  test.each(reads)('%s', async (text) => {
    const { shards: readOnly, source, calls } = routedShards({ databases })
    const reply = source.reply
    source.reply = async () => {
      const map = await reply()
      return { ...map, shards: map.shards.map((one) => ({ ...one, state: 'read-only' as const })) }
    }
    const on = readOnly.of(USER, { read: _.startsWith('exact') ? 'exact' : 'lease' })
    expect(await on.prepare(text).raw()).toEqual(await database.prepare(text).raw())
    expect(calls.every(({ kind }) => kind !== 'write')).toBe(true)
  })
})

test.each(["SELECT 'a; b'", 'VALUES (1)', 'PRAGMA table_info(posts)', "WITH p AS (SELECT 'delete') SELECT * FROM p"])(
  'a leased read is served in a fenced slot: %s',
  async (text) => {
    await setSlot(shard, 'users', SLOT, 'fenced')
    expect(await leased.prepare(text).raw()).toEqual(await shard.prepare(text).raw())
  },
)

describe.each(routed.slice(0, 2))('%s: meta.changes equals D1’s', (_, database) => {
  const insert = `INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?1, ?2, 't', 1, 1)`
  const written: Record<string, [string, ...unknown[]]> = {
    'two statements in one text': ["UPDATE posts SET text = 'a'; UPDATE posts SET text = 'b' WHERE version = ?", 1],
    'a cascade': ['DELETE FROM parents'],
    'a trigger that inserts': ['DELETE FROM stock'],
    'a trigger that inserts, and nothing to delete': ["DELETE FROM stock WHERE id = 'none'"],
    insert: [insert, post(5), USER],
    'an upsert of a row': [`${insert} ON CONFLICT (id) DO UPDATE SET text = 'u'`, post(1), USER],
    'a conflict that does nothing': [`${insert} ON CONFLICT DO NOTHING`, post(1), USER],
    'no row': ["UPDATE posts SET text = 'a' WHERE 0"],
    'rows of a moving table and others': ['DELETE FROM posts; DELETE FROM stock WHERE id = ?', 'a'],
    RETURNING: ['DELETE FROM posts RETURNING id, id'],
  }
  const changesOn = async (on: D1Database, [text, ...values]: [string, ...unknown[]]) => {
    const prepared = on.prepare(text).bind(...values)
    const answers = await on.batch([on.prepare('SELECT 1'), prepared, on.prepare('SELECT 1'), prepared])
    return answers.map(({ meta }) => meta.changes)
  }

  test.each(
    Object.entries(written).flatMap(([name, asked]) =>
      (['active', 'moving'] as const).map((state) => [name, state, asked] as const),
    ),
  )('%s, while the slot is %s', async (name, state, asked) => {
    // The second insert would conflict with the first.
    const twice = name !== 'insert'
    await refill()
    const expected = twice ? await changesOn(shard, asked) : [0, 1, 0]
    await refill(state)
    const changes = twice
      ? await changesOn(database, asked)
      : (
          await database.batch([
            database.prepare('SELECT 1'),
            database.prepare(asked[0]).bind(...asked.slice(1)),
            database.prepare('SELECT 1'),
          ])
        ).map(({ meta }) => meta.changes)
    expect(changes).toEqual(expected)
    if (state === 'moving' && name.includes('moving')) {
      const captured = await shard.prepare('SELECT count(*) AS n FROM slot_changes').first<number>('n')
      expect(captured).toBe(2)
    }
  })
})

test('the first capture of a shard is also counted, although its sequence has no row yet', async () => {
  await shard.prepare("DELETE FROM sqlite_sequence WHERE name = 'slot_changes'").run()
  await setSlot(shard, 'users', SLOT, 'moving')
  const { meta } = await leased.prepare("UPDATE posts SET text = 'a'").run()
  expect(meta.changes).toBe(2)
  expect(await shard.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'slot_changes'").first('seq')).toBe(2)
})

describe.each(routed)('%s: errors keep D1’s message and cause', (_, database) => {
  const asked: Record<string, (on: D1Database) => Promise<unknown>> = {
    'a trigger’s refusal': (on) => on.prepare('UPDATE stock SET left = -1').run(),
    'a trigger’s refusal in other letters': (on) => on.prepare('UPDATE stock SET left = 100').run(),
    'a trigger’s refusal, RETURNING': (on) => on.prepare('UPDATE stock SET left = -1 RETURNING id, id').raw(),
    'a constraint': (on) => on.prepare("INSERT INTO stock VALUES ('a', 1)").run(),
    'a constraint, in a batch': (on) =>
      on.batch([on.prepare('SELECT 1'), on.prepare("INSERT INTO stock VALUES ('a', 1)")]),
    'a foreign key': (on) => on.prepare('INSERT INTO children VALUES (9, 9)').run(),
    'NOT NULL': (on) => on.prepare("INSERT INTO posts (id) VALUES ('00aax')").run(),
    'an unknown table': (on) => on.prepare('SELECT * FROM missing').all(),
    'an unknown table, written': (on) => on.prepare('INSERT INTO missing VALUES (1) RETURNING a, a').raw(),
    'an unknown column of first()': (on) => on.prepare('SELECT 1 AS a').first('b'),
    'null for a column of first()': (on) => on.prepare('SELECT 1 AS a').first(null as unknown as string),
    'first() of a NULL': (on) => on.prepare('SELECT NULL AS a').first('a'),
    'an empty batch': (on) => on.batch([]),
    'an empty text': (on) => on.prepare('').run(),
    VACUUM: (on) => on.prepare('VACUUM').run(),
    'a transaction': (on) => on.prepare('BEGIN').run(),
    'not authorized': (on) => on.prepare("ATTACH 'x' AS y").run(),
  }
  test.each(Object.entries(asked))('%s', async (_, ask) => {
    await expectSame(database, ask)
  })

  test.each([undefined, {}, 1n, Symbol('s'), () => 1, Object.create(null), [1, 'a'], [256], [Number.NaN], new Date(0)])(
    'bind throws at once what D1 would throw: case %#',
    (value) => {
      const thrownBy = (on: D1Database) => {
        try {
          on.prepare('SELECT ?').bind(value)
        } catch (error) {
          const { message, cause } = error as Error
          return [message, (cause as Error | undefined)?.message]
        }
        return null
      }
      expect(thrownBy(database)).toEqual(thrownBy(shard))
      expect(thrownBy(database)).not.toBeNull()
    },
  )
})

test.each([
  ['a trigger’s refusal', 'UPDATE stock SET left = -1', { code: 'DATABASE_CONSTRAINT', refusal: 'OUT_OF_STOCK' }],
  ['in other letters', 'UPDATE stock SET left = 100', { code: 'DATABASE_CONSTRAINT' }],
  [
    'an unknown table',
    'SELECT * FROM missing',
    { code: 'MIGRATIONS_PENDING', hint: expect.stringContaining('migrations apply') as string },
  ],
  ['a row that is too large', `UPDATE posts SET text = hex(zeroblob(140000))`, { code: 'ROW_TOO_LARGE' }],
])('the code of %s', async (_, text, expected) => {
  await expect(leased.prepare(text).run()).rejects.toMatchObject(expected)
})

test.each([
  'SELECT 1; -- the end',
  'SELECT 1;;',
  'SELECT 1; SELECT ?',
  'DELETE FROM posts; -- all',
  'DELETE FROM posts;;',
  "DELETE FROM posts; DELETE FROM posts WHERE id = ?; SELECT 'x'",
  'DELETE FROM posts \0',
])('%j never ran: it is sent once and refused, and nothing is written', async (text) => {
  const { shards: watched, calls } = routedShards({ databases })
  const batched = watched.of(USER)
  const write = batched.prepare("UPDATE posts SET text = 'x'")
  for (const ask of [() => batched.prepare(text).all(), () => batched.batch([write, batched.prepare(text)])]) {
    calls.length = 0
    await expect(ask()).rejects.toMatchObject({ code: 'DATABASE_ERROR' })
    expect(calls).toHaveLength(1)
  }
  expect(await shard.prepare("SELECT count(*) AS n FROM posts WHERE text LIKE 'text%'").first('n')).toBe(2)
})

test('exec and dump name the alternative', async () => {
  await expect(leased.exec('SELECT 1')).rejects.toThrow(/prepare\(sql\).*batch\(/)
  await expect(leased.dump()).rejects.toThrow(/wrangler d1 export/)
})

test('an error in RETURNING leaves nothing behind, although the statement is run again to get its own error', async () => {
  await expect(leased.prepare("UPDATE posts SET text = 'gone' RETURNING id, id, nothing").raw()).rejects.toThrow(
    'nothing',
  )
  expect(await shard.prepare("SELECT count(*) AS n FROM posts WHERE text = 'gone'").first('n')).toBe(0)
})

test('a write that becomes too long with renamed columns is refused, and leaves nothing behind', async () => {
  const text = 'x'.repeat(99_950)
  const statement = `UPDATE posts SET text = '${text}' RETURNING id, id`
  await expect(leased.prepare(statement).raw()).rejects.toThrow('statement too long')
  expect(await shard.prepare('SELECT max(length(text)) AS n FROM posts').first('n')).toBe(6)
})

test.each(["SELECT 'a; b'", 'VALUES (1)', 'PRAGMA table_info(posts)', 'SELECT 1 AS a, 2 AS a'])(
  'a read whose answer was lost is retried: %s',
  async (text) => {
    for (const read of ['lease', 'exact'] as const) {
      let failures = 1
      const { shards: flaky } = routedShards({
        databases,
        before: () => {
          if (failures-- > 0) throw new Error('D1_ERROR: Network connection lost.')
        },
      })
      expect(await flaky.of(USER, { read }).prepare(text).raw()).toEqual(await shard.prepare(text).raw())
    }
  },
)
