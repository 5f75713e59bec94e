import { beforeEach, describe, expect, test } from 'vitest'
import { routedShards } from '../../support/sharding-doubles.ts'
import { databases, rejectionOf, setSlot, slotStatement } from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const SLOT = '00aa'
const USER = `${SLOT}01jd0000000000000000000001`
const post = (n: number) => `${SLOT}01jd00000000000000000000p${n}`

const { shards, calls } = routedShards({ databases })
const leased = shards.of(USER)
const exact = shards.of(USER, { read: 'exact' })

beforeEach(async () => {
  await shard.batch([
    slotStatement(shard, 'users', SLOT, 'active'),
    shard.prepare('DELETE FROM posts'),
    shard.prepare('DELETE FROM profiles'),
    shard.prepare('DELETE FROM slot_changes'),
    shard
      .prepare(
        "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, 'ada', 'Ada', '', 5, 1)",
      )
      .bind(USER),
    ...[1, 2].map((n) =>
      shard
        .prepare('INSERT INTO posts VALUES (?, ?, ?, ?, ?, 1)')
        .bind(post(n), USER, `text ${n}`, n, n === 1 ? null : 9),
    ),
  ])
  calls.length = 0
})

describe('while the slot is moving, captured rows do not count as changes of the statement', () => {
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

test('an empty statement in a batch is refused unsent, because D1 would omit its answer and shift the others', async () => {
  const batch = leased.batch(['DELETE FROM posts', '-- nothing', 'SELECT 1'].map((text) => leased.prepare(text)))
  expect(await rejectionOf(batch)).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(calls).toEqual([])
})

test('exec and dump are refused, and nothing is sent', async () => {
  expect(await rejectionOf(leased.exec('DELETE FROM posts'))).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(await rejectionOf(leased.dump())).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(calls).toEqual([])
})

test('a batch with statements of another slot, keyspace or request, or of the raw binding, is refused unsent', async () => {
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

test('every statement that is not certainly a read is sent with the guard; a read is sent without it', async () => {
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
  test('has no bookmark before its first answer, and then one that names its shard', async () => {
    const session = leased.withSession('first-primary')
    expect(session.getBookmark()).toBeNull()
    await session.prepare("UPDATE posts SET text = 'in a session'").run()
    const bookmark = session.getBookmark()
    expect(bookmark).toMatch(/^shard-000:.+/)
    const next = leased.withSession(bookmark!)
    expect(await next.prepare('SELECT text FROM posts LIMIT 1').first('text')).toBe('in a session')
    expect(next.getBookmark()).toMatch(/^shard-000:/)
  })

  test('passes D1 its own shard’s bookmark without the name, and no bookmark of another shard', async () => {
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
    // Without a lease, its reads are exact.
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
