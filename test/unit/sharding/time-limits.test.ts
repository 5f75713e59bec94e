import { describe, expect, test, vi } from 'vitest'
import { TimeBudget } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import type { ShardEntry } from '../../../src/sharding/shard-map.ts'
import { BudgetSpent } from '../../../src/sharding/statement-budget.ts'
import { migratedShard } from '../../support/fleet.ts'
import {
  linkedDatabase,
  ManualClock,
  mapWire,
  routedShards,
  ScriptedSource,
  silence,
} from '../../support/sharding-doubles.ts'

// Without a limit these tests hang, because the clocks are their own.
vi.setConfig({ testTimeout: 2_000 })

const SLOT = '00a7'
const ID = `${SLOT}01jd0000000000000000000000`
const SELECT = 'SELECT 1 AS one'
const UPDATE = "UPDATE profiles SET version = 9 WHERE id = 'nobody'"

type Turn = 'silent' | 'answers' | Error

/** A shard whose calls behave as listed. Time passes while it is silent. The last behaviour repeats. */
async function stand(turns: Turn[], { time }: { time?: number } = {}) {
  const clock = new ManualClock()
  const shard = migratedShard()
  const slots = ['users', 'claims'].map((keyspace) =>
    shard.prepare("INSERT INTO slots (keyspace, slot, state, epoch) VALUES (?, ?, 'active', 1)").bind(keyspace, SLOT),
  )
  await shard.batch(slots)
  const pass = () => {
    if (clock.pending === 0) return
    clock.advance(100)
    setImmediate(pass)
  }
  let calls = 0
  const database = linkedDatabase(shard, async (send) => {
    const turn = turns[Math.min(calls++, turns.length - 1)]!
    if (turn === 'answers') return send()
    if (turn !== 'silent') throw turn
    setImmediate(pass)
    return silence()
  })
  const routed = routedShards({
    databases: { SHARD_000: database },
    clock,
    ...(time === undefined ? {} : { time: new TimeBudget(clock, time) }),
  })
  return { ...routed, shard, clock, startedAt: clock.now(), sent: () => calls }
}

const codeOf = async (work: Promise<unknown>) =>
  work.then(
    () => 'answered',
    (error: { code: string; message: string; retryAfterSeconds?: number }) => error,
  )

const overloaded = new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
const full = new Error('D1_ERROR: Exceeded maximum DB size.')
const daily = new Error(
  "D1_ERROR: Your account has exceeded D1's free tier daily row write limit. Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue.",
)

describe('a shard that never answers', () => {
  test.each(['lease', 'exact'] as const)(
    'a %s read is retried within the budget, then fails with 503',
    async (read) => {
      const { shards, clock, startedAt, sent } = await stand(['silent'])
      expect(await codeOf(shards.of(ID, { read }).prepare(SELECT).first())).toMatchObject({
        code: 'SHARD_UNAVAILABLE',
        status: 503,
        retryAfterSeconds: limits.unavailableRetryAfterSeconds,
      })
      expect(sent()).toBeGreaterThan(1)
      expect(clock.now() - startedAt).toBeLessThanOrEqual(limits.routeBudgetMs + limits.shardWriteMs)
      expect(clock.pending).toBe(0)
    },
  )

  test('a read without an answer the first time is answered', async () => {
    const { shards } = await stand(['silent', 'answers'])
    expect(await shards.of(ID).prepare(SELECT).first('one')).toBe(1)
  })

  test('a write has an unknown outcome and is not retried', async () => {
    const { shards, sent } = await stand(['silent', 'answers'])
    expect(await codeOf(shards.of(ID).prepare(UPDATE).run())).toMatchObject({ code: 'OUTCOME_UNKNOWN', status: 503 })
    expect(sent()).toBe(1)
  })

  test('an idempotent write is retried, and unknown in the end', async () => {
    const once = await stand(['silent', 'answers'])
    await once.shards.of(ID, { idempotent: true }).prepare(UPDATE).run()
    expect(once.sent()).toBe(2)
    const never = await stand(['silent'])
    const outcome = codeOf(never.shards.of(ID, { idempotent: true }).prepare(UPDATE).run())
    expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  test('a group’s items have an unknown outcome within the same time', async () => {
    const { shards, clock, startedAt } = await stand(['silent'])
    const items = [{ key: ID }]
    const { failed } = await shards.group(items, { keyspace: 'users', operation: 'test' }, (database) => ({
      updated: database.prepare(UPDATE),
    }))
    expect(failed.get(items[0]!)!.code).toBe('OUTCOME_UNKNOWN')
    expect(clock.now() - startedAt).toBeLessThanOrEqual(limits.routeBudgetMs + limits.shardWriteMs)
  })

  test('a failed visit is reported with the shard', async () => {
    const { shards } = await stand(['silent'])
    const { failed } = await shards.each('users', ({ run }) => run(SELECT))
    expect(failed).toContainEqual({ shard: 'shard-000', error: `no answer within ${limits.shardCallMs} ms` })
  })

  test('a late batch does not delay the next one, whose answer counts', async () => {
    const { shards, sent } = await stand(['silent', 'answers', 'answers'])
    await codeOf(shards.of(ID).prepare(UPDATE).run())
    expect(await shards.of(ID).prepare(SELECT).first('one')).toBe(1)
    expect(sent()).toBe(2)
  })
})

describe('when the time of a request is up', () => {
  test('nothing more is sent, and the error says that nothing was written', async () => {
    const { shards, clock, sent } = await stand(['answers'], { time: 1_000 })
    clock.time += 1_000
    const items = [{ key: ID }]
    const refused = {
      code: 'SHARD_UNAVAILABLE',
      message: 'The request has used up its time. Nothing was written. Try again.',
    }
    expect(await codeOf(shards.of(ID).prepare(SELECT).first())).toMatchObject(refused)
    expect(await codeOf(shards.of(ID).prepare(UPDATE).run())).toMatchObject(refused)
    const build = () => ({ updated: migratedShard().prepare(UPDATE) })
    const { failed } = await shards.group(items, { keyspace: 'users', operation: 'test' }, build)
    expect(failed.get(items[0]!)).toMatchObject(refused)
    const visits = await shards.each('users', ({ run }) => run(SELECT))
    expect(visits.failed.map(({ error }) => error)).toContain(refused.message)
    expect(sent()).toBe(0)
  })

  test('after a lost answer, the outcome is unknown, not "nothing was written"', async () => {
    const { shards } = await stand(['silent'], { time: 1_000 })
    const outcome = codeOf(shards.of(ID, { idempotent: true }).prepare(UPDATE).run())
    expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })
})

describe('an answer that proves that nothing was applied', () => {
  test('overloaded: a write is retried although it is not idempotent', async () => {
    const { shards, sent } = await stand([overloaded, overloaded, 'answers'])
    await shards.of(ID).prepare(UPDATE).run()
    expect(sent()).toBe(3)
  })

  test('a statement beyond the invocation’s budget was never sent, so nothing was written', async () => {
    const { shards } = await stand([new BudgetSpent('this invocation has sent 1000 of its 1000 statements')])
    expect(await codeOf(shards.of(ID).prepare(UPDATE).run())).toMatchObject({
      code: 'BUDGET_SPENT',
      message: expect.stringContaining('Nothing was written.'),
    })
  })

  test('overloaded until the end: 503 with Retry-After, and nothing was written', async () => {
    const { shards, sent } = await stand([overloaded])
    for (const work of [shards.of(ID).prepare(UPDATE).run(), shards.of(ID).prepare(SELECT).first()])
      expect(await codeOf(work)).toMatchObject({ code: 'SHARD_UNAVAILABLE', retryAfterSeconds: expect.any(Number) })
    const written = codeOf(shards.of(ID).prepare(UPDATE).run())
    expect(await written).toMatchObject({ message: expect.stringContaining('Nothing was written.') })
    expect(sent()).toBe(3 * (limits.readRetriesMax + 1))
  })

  test.each([
    ['the daily limit', daily, 'D1_DAILY_LIMIT', 503],
    ['a full database', full, 'SHARD_FULL', 507],
  ])('%s is reported at once, without a retry', async (_, error, code, status) => {
    const { shards, sent } = await stand([error])
    expect(await codeOf(shards.of(ID).prepare(UPDATE).run())).toMatchObject({ code, status })
    expect(sent()).toBe(1)
  })

  test.each([
    ['an hour before midnight UTC', '2026-11-30T23:00:00.000Z', 3_600],
    ['a millisecond before', '2026-11-30T23:59:59.999Z', 1],
    ['at midnight', '2026-12-01T00:00:00.000Z', 86_400],
  ])('the daily limit %s: Retry-After is the rest of the day', async (_, now, seconds) => {
    const { shards, clock } = await stand([daily])
    await shards.map()
    clock.time = Date.parse(now)
    const failed = await codeOf(shards.of(ID, { read: 'exact' }).prepare(SELECT).first())
    expect(failed).toMatchObject({ code: 'D1_DAILY_LIMIT', retryAfterSeconds: seconds })
  })

  test.each([
    ['overloaded', overloaded],
    ['full', full],
    ['the daily limit', daily],
  ])('%s, after a lost answer: the outcome is unknown', async (_, error) => {
    const { shards } = await stand(['silent', error])
    const single = codeOf(shards.of(ID, { idempotent: true }).prepare(UPDATE).run())
    expect(await single).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    const grouped = await stand([new Error('D1_ERROR: Network connection lost.'), error])
    const items = [{ key: ID }]
    const { failed } = await grouped.shards.group(items, { keyspace: 'users', operation: 'test' }, (database) => ({
      updated: database.prepare(UPDATE),
    }))
    expect(failed.get(items[0]!)!.code).toBe('OUTCOME_UNKNOWN')
  })

  test('a group fails as a whole at a full database, without halving, and reports the reason', async () => {
    const { shards, sent } = await stand([full])
    const items = ['1', '2', '3'].map((name) => ({ key: `${SLOT}.${name}` }))
    const { failed } = await shards.group(items, { keyspace: 'users', operation: 'test' }, (database) => ({
      updated: database.prepare(UPDATE),
    }))
    expect([...failed.values()].map(({ code }) => code)).toEqual(Array(3).fill('SHARD_FULL'))
    expect(sent()).toBe(1)
  })
})

describe('a session and the replicas', () => {
  const bookmark = (n: number) => `0000000${n}-00000000-00004e2b-ab`

  /** A database whose replicas lag. A session sees what its start requires, and no later change. */
  function lagging(opened: string[]): D1Database {
    const primaryAt = 9
    const session = (start: string) => {
      opened.push(start)
      const seenAt = start.startsWith('first-primary') ? primaryAt : start.startsWith('first-') ? 0 : Number(start[7])
      let answeredAt: string | null = null
      const statement = {
        bind: () => statement,
        async all() {
          answeredAt = bookmark(seenAt)
          return { results: [{ seenAt }], meta: { changes: 0 } }
        },
        first: async () => seenAt,
      }
      return { prepare: () => statement, getBookmark: () => answeredAt }
    }
    return { withSession: session } as unknown as D1Database
  }

  async function opening(start: string | undefined, minBookmark: string | undefined) {
    const opened: string[] = []
    const clock = new ManualClock()
    const { shards } = routedShards({
      databases: { SHARD_000: lagging(opened) },
      clock,
      source: new ScriptedSource(() => withMinBookmark(mapWire(1, clock.now(), 0), minBookmark)),
    })
    const { results } = await shards.of(ID).withSession(start).prepare('SELECT 1').all<{ seenAt: number }>()
    return { opened, seenAt: results[0]!.seenAt }
  }

  function withMinBookmark(wire: ReturnType<typeof mapWire>, minBookmark: string | undefined) {
    const shard: ShardEntry = wire.shards[0]!
    if (minBookmark !== undefined) shard.minBookmark = minBookmark
    return wire
  }

  test.each([
    ['a client’s bookmark from before the slots arrived', `shard-000:${bookmark(3)}`, bookmark(5), bookmark(5)],
    ['a client’s bookmark from after they arrived', `shard-000:${bookmark(7)}`, bookmark(5), bookmark(7)],
    ['the same', `shard-000:${bookmark(5)}`, bookmark(5), bookmark(5)],
    ['no bookmark', undefined, bookmark(5), bookmark(5)],
    ['a shard to which nothing was moved', `shard-000:${bookmark(3)}`, undefined, bookmark(3)],
    ['another shard’s bookmark', `shard-001:${bookmark(7)}`, bookmark(5), 'first-primary'],
    ['the primary', 'first-primary', bookmark(5), 'first-primary'],
  ])('%s: the later of the two', async (_, start, minBookmark, expected) => {
    const { opened } = await opening(start, minBookmark)
    expect(opened).toEqual([expected])
  })

  test('a replica that has not seen the slots arrive is not read', async () => {
    const { seenAt } = await opening(`shard-000:${bookmark(3)}`, bookmark(5))
    expect(seenAt).toBeGreaterThanOrEqual(5)
  })

  test('a session that is open while slots leave and return sees them arrive', async () => {
    const opened: string[] = []
    const clock = new ManualClock()
    let epoch = 1
    const { shards, holder, source } = routedShards({
      databases: { SHARD_000: lagging(opened) },
      clock,
      source: new ScriptedSource(() =>
        withMinBookmark(mapWire(epoch, clock.now(), 0), epoch === 1 ? undefined : bookmark(6)),
      ),
    })
    const session = shards.of(ID).withSession(`shard-000:${bookmark(4)}`)
    const read = async () => (await session.prepare('SELECT 1').all<{ seenAt: number }>()).results[0]!.seenAt
    expect(await read()).toBe(4)
    epoch = 3
    const request = { source, copies: { get: async () => null, put: async () => undefined } }
    await holder.current({ ...request, log: console as never, waitUntil: () => undefined }, 3)
    expect([await read(), await read()]).toEqual([6, 6])
    expect(opened).toEqual([bookmark(4), bookmark(6)])
  })
})
