import { asc, eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/d1'
import { beforeEach, describe, expect, test } from 'vitest'
import { posts } from '../../../src/app/posts/schema.ts'
import { profiles } from '../../../src/app/profiles/schema.ts'
import { routedShards } from '../../support/sharding-doubles.ts'
import { databases, rejectionOf, setSlot, slotStatement } from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const SLOT = '00aa'
const USER = `${SLOT}01jd0000000000000000000001`
const post = (n: number) => `${SLOT}01jd00000000000000000000p${n}`

const { shards, calls } = routedShards({ databases })
const leased = shards.of(USER)
const exact = shards.of(USER, { read: 'exact' })
const routed = [
  ['leased', leased],
  ['exact', exact],
] as const

beforeEach(async () => {
  await shard.batch([
    slotStatement(shard, 'users', SLOT, 'active'),
    shard.prepare('DELETE FROM posts'),
    shard.prepare('DELETE FROM profiles'),
    shard.prepare('DELETE FROM slot_changes'),
    shard.prepare("INSERT INTO profiles VALUES (?, 'ada', 'Ada', '', 5, 1)").bind(USER),
    ...[1, 2].map((n) =>
      shard
        .prepare('INSERT INTO posts VALUES (?, ?, ?, ?, ?, 1)')
        .bind(post(n), USER, `text ${n}`, n, n === 1 ? null : 9),
    ),
  ])
  calls.length = 0
})

describe.each(routed)('Drizzle, without a cast, %s', (_, database) => {
  const db = drizzle(database)

  test('select, with NULL and order', async () => {
    expect(await db.select().from(posts).orderBy(asc(posts.id))).toEqual([
      { id: post(1), authorId: USER, text: 'text 1', createdAt: 1, editedAt: null, version: 1 },
      { id: post(2), authorId: USER, text: 'text 2', createdAt: 2, editedAt: 9, version: 1 },
    ])
    expect(await db.select().from(posts).where(eq(posts.id, 'none'))).toEqual([])
    expect(
      await db
        .select()
        .from(posts)
        .where(eq(posts.id, post(2)))
        .get(),
    ).toMatchObject({ text: 'text 2' })
  })

  test('insert, update and delete, each with returning', async () => {
    const row = { id: post(3), authorId: USER, text: 'three', createdAt: 3, editedAt: null, version: 1 }
    expect(await db.insert(posts).values(row).returning()).toEqual([row])
    const update = db.update(posts).set({ text: 'THREE', version: sql`${posts.version} + 1` })
    expect(await update.where(eq(posts.id, row.id)).returning({ text: posts.text, version: posts.version })).toEqual([
      { text: 'THREE', version: 2 },
    ])
    expect(await db.delete(posts).where(eq(posts.id, row.id)).returning({ id: posts.id })).toEqual([{ id: row.id }])
    expect(await db.$count(posts)).toBe(2)
    const none = await db.update(posts).set({ text: 'x' }).where(eq(posts.id, 'none'))
    expect(none.meta.changes).toBe(0)
  })

  test('a batch gives each statement its own answer', async () => {
    const [before, inserted, after] = await db.batch([
      db.select({ n: sql<number>`count(*)` }).from(posts),
      db
        .insert(posts)
        .values({ id: post(4), authorId: USER, text: 't', createdAt: 4, version: 1 })
        .returning(),
      db.select({ n: sql<number>`count(*)` }).from(posts),
    ])
    expect([before[0]!.n, inserted[0]!.id, after[0]!.n]).toEqual([2, post(4), 3])
  })

  test('a join keeps columns of one name apart, in their order', async () => {
    const rows = await db
      .select()
      .from(posts)
      .innerJoin(profiles, eq(profiles.id, posts.authorId))
      .where(eq(posts.id, post(2)))
    expect(rows).toEqual([
      {
        posts: { id: post(2), authorId: USER, text: 'text 2', createdAt: 2, editedAt: 9, version: 1 },
        profiles: { id: USER, handle: 'ada', displayName: 'Ada', bio: '', createdAt: 5, version: 1 },
      },
    ])
  })

  test('a literal number as a column stays in its place', async () => {
    const columns = { text: posts.text, two: sql<number>`2`, id: posts.id, one: sql<number>`1` }
    expect(
      await db
        .select(columns)
        .from(posts)
        .where(eq(posts.id, post(1))),
    ).toEqual([{ text: 'text 1', two: 2, id: post(1), one: 1 }])
  })
})

/** Run on the raw binding, it says what D1 answers; the routed database must answer the same. */
const questions: Record<string, (database: D1Database) => Promise<unknown>> = {
  'all()': async (database) => (await database.prepare('SELECT * FROM posts ORDER BY id').all()).results,
  'all() of nothing': async (database) => (await database.prepare('SELECT * FROM posts WHERE 0').all()).results,
  'all() says that it succeeded and changed nothing': async (database) => {
    const { success, meta } = await database.prepare('SELECT * FROM posts').all()
    return [success, meta.changes]
  },
  'run() of a read': async (database) => (await database.prepare('SELECT id FROM posts ORDER BY id').run()).results,
  'first()': (database) => database.prepare('SELECT * FROM posts ORDER BY id DESC').first(),
  'first() of nothing': (database) => database.prepare('SELECT * FROM posts WHERE 0').first(),
  'first(column)': (database) => database.prepare('SELECT id, text FROM posts ORDER BY id').first('text'),
  'first(column) that is NULL': (database) =>
    database.prepare('SELECT edited_at FROM posts ORDER BY id').first('edited_at'),
  'first(column) of nothing': (database) => database.prepare('SELECT id FROM posts WHERE 0').first('id'),
  'raw()': (database) => database.prepare('SELECT text, created_at, edited_at FROM posts ORDER BY id').raw(),
  'raw() of nothing': (database) => database.prepare('SELECT id FROM posts WHERE 0').raw(),
  'raw() with two columns of one name': (database) =>
    database.prepare('SELECT a.id, b.id, a.version FROM posts a JOIN posts b ON a.id < b.id').raw(),
  'raw() with columns whose names are numbers': (database) =>
    database.prepare('SELECT text, 2, id, 1 FROM posts ORDER BY id').raw(),
  'raw() with names': (database) =>
    database.prepare('SELECT text, id FROM posts ORDER BY id').raw({ columnNames: true }),
  'raw() with names, of nothing': (database) =>
    database.prepare('SELECT text, id FROM posts WHERE 0').raw({ columnNames: true }),
  'raw() with names that are numbers': (database) =>
    database.prepare('SELECT text, 2, 1 FROM posts').raw({ columnNames: true }),
  'raw() of an ordered limit in WITH, with a comment at the end': (database) =>
    database.prepare('WITH p AS (SELECT * FROM posts) SELECT id FROM p ORDER BY created_at DESC LIMIT 1 -- one').raw(),
  'raw() with a semicolon at the end': (database) => database.prepare('SELECT id FROM posts ORDER BY id;').raw(),
  'values of each type': (database) =>
    database
      .prepare("SELECT NULL AS n, 1 AS i, 1.5 AS r, 'é🌳' AS t, x'00ff' AS b, 9007199254740991 AS max, ? AS bound")
      .bind(true)
      .first(),
  'values of each type, raw()': (database) =>
    database
      .prepare("SELECT NULL, -1, 1e300, '', x'', ?")
      .bind(new Uint8Array([1, 2]).buffer)
      .raw(),
  'bind order': (database) =>
    database.prepare('SELECT ?2 AS second, ?1 AS first, ? AS third').bind('a', 'b', 'c').first(),
  'bound again, a statement forgets its former values': async (database) => {
    const statement = database.prepare('SELECT ? AS value')
    const first = statement.bind('first')
    const second = statement.bind('second')
    return [await first.first('value'), await second.first('value'), await first.bind('third').first('value')]
  },
  'a batch of reads': async (database) =>
    (
      await database.batch([database.prepare('SELECT 1 AS a'), database.prepare('SELECT id FROM posts ORDER BY id')])
    ).map(({ results, meta }) => [results, meta.changes]),
  'a batch of reads and writes': async (database) =>
    (
      await database.batch([
        database.prepare('SELECT count(*) AS n FROM posts'),
        database.prepare('UPDATE posts SET version = version + 1 RETURNING id, version'),
        database.prepare("WITH two AS (SELECT replace('two', 't', 'T') AS t) SELECT t FROM two"),
        database.prepare('SELECT sum(version) AS n FROM posts'),
        database.prepare('DELETE FROM posts WHERE id = ?').bind(post(1)),
      ])
    ).map(({ results, meta, success }) => [results, meta.changes, success]),
  'an insert, a conflict that does nothing, an upsert': async (database) => {
    const insert = `INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?, ?, 't', 1, 1)`
    const answers = [
      await database.prepare(insert).bind(post(5), USER).run(),
      await database.prepare(`${insert} ON CONFLICT DO NOTHING`).bind(post(5), USER).run(),
      await database
        .prepare(`${insert} ON CONFLICT (id) DO UPDATE SET text = 'u' RETURNING text`)
        .bind(post(5), USER)
        .run(),
    ]
    return answers.map(({ results, meta }) => [results, meta.changes])
  },
  'several rows at once': async (database) =>
    (
      await database
        .prepare("INSERT INTO posts SELECT ?1 || value, ?2, 't', 1, NULL, 1 FROM json_each(?3)")
        .bind(SLOT, USER, '["x","y","z"]')
        .run()
    ).meta.changes,
  'a write’s raw()': (database) =>
    database.prepare('DELETE FROM posts RETURNING version, text').raw({ columnNames: true }),
  'a write’s first(column)': (database) => database.prepare("UPDATE posts SET text = 'n' RETURNING text").first('text'),
}

/** The same, less what only differs in the error's text. */
const mistakes: Record<string, (database: D1Database) => Promise<unknown>> = {
  'a column that is not there': (database) => database.prepare('SELECT id FROM posts').first('none'),
  'a syntax error': (database) => database.prepare('SELECT FROM').all(),
  'too few values, read': (database) => database.prepare('SELECT ?, ?').bind(1).all(),
  'too few values, write': (database) => database.prepare('UPDATE posts SET text = ? WHERE id = ?').bind('x').run(),
  'too many values, in a batch': (database) => database.batch([database.prepare('DELETE FROM posts').bind(1)]),
  'a value that can’t be bound': (database) => database.prepare('UPDATE posts SET text = ?').bind({}).run(),
  'a value that is undefined, in a batch': (database) =>
    database.batch([database.prepare('UPDATE posts SET text = ?').bind(undefined)]),
  'an empty statement': (database) => database.prepare('').run(),
}

const refill = 'the shard is filled anew before each answer'
async function answerOn(database: D1Database, ask: (database: D1Database) => Promise<unknown>): Promise<unknown> {
  await shard.batch([
    shard.prepare('DELETE FROM posts'),
    ...[1, 2].map((n) =>
      shard
        .prepare('INSERT INTO posts VALUES (?, ?, ?, ?, ?, 1)')
        .bind(post(n), USER, `text ${n}`, n, n === 1 ? null : 9),
    ),
  ])
  return ask(database)
}

describe.each([...routed, ['in a session', leased.withSession() as unknown as D1Database]] as const)(
  `the routed database, %s, answers as D1 does (${refill})`,
  (_, database) => {
    test.each(Object.entries(questions))('%s', async (_, ask) => {
      const expected = await answerOn(shard, ask)
      expect(await answerOn(database, ask)).toEqual(expected)
    })

    test.each(Object.entries(mistakes))('%s is refused as a mistake, not as a lost answer', async (_, ask) => {
      await rejectionOf(answerOn(shard, ask))
      const failed = await rejectionOf(answerOn(database, ask))
      expect(failed).toMatchObject({ code: 'DATABASE_ERROR' })
      expect(await shard.prepare("SELECT count(*) AS n FROM posts WHERE text LIKE 'text%'").first('n')).toBe(2)
    })
  },
)

describe('while the slot is moving, a capture is no change of the statement', () => {
  beforeEach(() => setSlot(shard, 'users', SLOT, 'moving'))
  const insert = `INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?, ?, 't', 1, 1)`

  const counted: [string, string, unknown[], number][] = [
    ['insert', insert, [post(6), USER], 1],
    ['upsert of a new row', `${insert} ON CONFLICT (id) DO UPDATE SET text = 'u'`, [post(6), USER], 1],
    ['upsert of a row', `${insert} ON CONFLICT (id) DO UPDATE SET text = 'u'`, [post(1), USER], 1],
    ['conflict that does nothing', `${insert} ON CONFLICT DO NOTHING`, [post(1), USER], 0],
    ['update of two rows', 'UPDATE posts SET version = 2', [], 2],
    ['update of no row', "UPDATE posts SET version = 2 WHERE id = 'none'", [], 0],
    ['update with RETURNING', 'UPDATE posts SET version = 2 WHERE id = ? RETURNING id', [post(1)], 1],
    ['delete of two rows', 'DELETE FROM posts', [], 2],
    ['insert from WITH', `WITH one AS (SELECT 1) ${insert}`, [post(6), USER], 1],
  ]

  test.each(counted)('%s', async (_, statement, values, changes) => {
    const prepared = leased.prepare(statement).bind(...values)
    const read = leased.prepare('SELECT 1')
    const batch = await leased.batch([read, prepared, read, prepared.bind(...values)].slice(0, 3))
    expect(batch.map(({ meta }) => meta.changes)).toEqual([0, changes, 0])
  })

  test.each(counted)('%s, alone', async (_, statement, values, changes) => {
    expect(
      (
        await leased
          .prepare(statement)
          .bind(...values)
          .run()
      ).meta.changes,
    ).toBe(changes)
    const { results } = await shard.prepare('SELECT tbl FROM slot_changes').all()
    expect(results.length).toBeGreaterThanOrEqual(changes)
  })
})

test('an empty statement in a batch is refused, unsent: D1 would leave its answer out, and shift the others', async () => {
  const batch = leased.batch(['DELETE FROM posts', '-- nothing', 'SELECT 1'].map((text) => leased.prepare(text)))
  expect(await rejectionOf(batch)).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(calls).toEqual([])
})

test('exec and dump are refused, and nothing is sent', async () => {
  expect(await rejectionOf(leased.exec('DELETE FROM posts'))).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(await rejectionOf(leased.dump())).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(calls).toEqual([])
})

test('a batch of another slot’s, another keyspace’s, another request’s or the raw binding’s statements is refused, unsent', async () => {
  const sql = 'DELETE FROM posts'
  const strangers = [
    shards.of(`00ab${USER.slice(4)}`).prepare(sql),
    shards.of(USER, { keyspace: 'claims' }).prepare(sql),
    routedShards({ databases }).shards.of(USER).prepare(sql),
    shard.prepare(sql),
  ]
  for (const stranger of strangers)
    expect(await rejectionOf(leased.batch([leased.prepare(sql), stranger]))).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(calls).toEqual([])
  // Another object for the same slot is the same route.
  await leased.batch([shards.of(`${SLOT}anything`, { operation: 'other' }).prepare('SELECT 1')])
  expect(calls).toHaveLength(1)
})

test.each(['', '00a', '00AA01jd', 'zzzz01jd', '00a-', "00a'", ' 00aa', '😀01'])(
  'the malformed id %j is refused before any query',
  (id) => {
    expect(() => shards.of(id)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
    expect(calls).toEqual([])
  },
)

test('every statement that is not certainly a read is sent with the guard, a read without', async () => {
  await leased.prepare('SELECT 1').first()
  await leased.prepare('PRAGMA optimize').run()
  await leased.batch([leased.prepare('SELECT 1'), leased.prepare('DELETE FROM posts')])
  await exact.prepare('SELECT 1').first()
  expect(calls.map(({ kind, statements }) => [kind, statements])).toEqual([
    ['read', 1],
    ['write', 1],
    ['write', 2],
    ['exact-read', 1],
  ])
})

describe('a session', () => {
  test('has no bookmark before its first answer, then one that names its shard', async () => {
    const session = leased.withSession('first-primary')
    expect(session.getBookmark()).toBeNull()
    await session.prepare("UPDATE posts SET text = 'in a session'").run()
    const bookmark = session.getBookmark()
    expect(bookmark).toMatch(/^shard-000:.+/)
    const next = leased.withSession(bookmark!)
    expect(await next.prepare('SELECT text FROM posts LIMIT 1').first('text')).toBe('in a session')
    expect(next.getBookmark()).toMatch(/^shard-000:/)
  })

  test('gives D1 its own shard’s bookmark without the name, and of another shard’s none', async () => {
    const opened: unknown[] = []
    const watched = new Proxy(shard, {
      get: (target, name) =>
        name === 'withSession'
          ? (start: string) => {
              opened.push(start)
              return target.withSession()
            }
          : Reflect.get(target, name),
    })
    const database = routedShards({ databases: { SHARD_000: watched } }).shards.of(USER)
    for (const start of [undefined, 'first-primary', 'first-unconstrained', 'shard-000:0001-ab', 'shard-001:0001-ab'])
      await database.withSession(start).prepare('SELECT 1').first()
    expect(opened).toEqual(['first-unconstrained', 'first-primary', 'first-unconstrained', '0001-ab', 'first-primary'])
  })

  test('opened with a bookmark and not yet used, returns it as D1 does', () => {
    const starts = ['shard-000:0001-ab', ' shard-000:0001-ab ', 'first-primary', ' ', undefined]
    for (const start of starts)
      expect(leased.withSession(start).getBookmark()).toBe(shard.withSession(start).getBookmark())
  })

  test('an exact read in it advances its bookmark, and the next leased read starts there', async () => {
    const opened: string[] = []
    const watched = new Proxy(shard, {
      get: (target, name) =>
        name === 'withSession'
          ? (start: string) => {
              opened.push(start)
              return target.withSession(start)
            }
          : Reflect.get(target, name),
    })
    const {
      shards: routes,
      clock,
      source,
      calls,
    } = routedShards({ databases: { SHARD_000: watched }, leaseMs: 30_000 })
    const session = routes.of(USER).withSession('first-unconstrained')
    const textOf = () => session.prepare('SELECT text FROM posts ORDER BY id').first('text')
    await textOf()
    await shard.prepare("UPDATE posts SET text = 'later'").run()
    // Without a lease its reads are exact.
    const reply = source.reply
    source.reply = () => Promise.reject(new Error('away'))
    clock.advance(60_000)
    expect(await textOf()).toBe('later')
    const seen = session.getBookmark()
    source.reply = reply
    clock.advance(10_000)
    await textOf()
    await textOf()
    expect(calls.map(({ kind }) => kind).slice(0, 2)).toEqual(['read', 'exact-read'])
    expect(calls.at(-1)!.kind).toBe('read')
    expect(opened.slice(0, 2)).toEqual(['first-unconstrained', 'first-primary'])
    expect(`shard-000:${opened.at(-1)}`).toBe(seen)
    expect(seen! <= session.getBookmark()!).toBe(true)
  })
})
