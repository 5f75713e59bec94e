import { createExecutionContext, createMessageBatch, getQueueResult, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { limits } from '../../../src/core/limits.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { UnkindQueue } from '../../support/queue-double.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { connectionLost, linkedDatabase } from '../../support/sharding-doubles.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env & Record<'SHARD_000' | 'SHARD_001', D1Database>
const token = bindings.OPERATOR_TOKEN!

beforeAll(async () => {
  // The directory's first boot gives the shards their slots.
  await workerIsolate().request('GET', '/operator/v1/shards', { token })
})
beforeEach(emptyShards)

/** A Worker whose jobs go to a queue that the test delivers. */
function setUp(overrides: Partial<Env> = {}) {
  const queue = new UnkindQueue<Job>()
  const binding = queue.binding as Queue
  const isolate = workerIsolate({
    JOBS: 'queue',
    JOBS_QUEUE: binding,
    MAIL_QUEUE: binding,
    ...overrides,
  } as Partial<Env>)
  const ask = async <T>(method: string, path: string, json?: unknown): Promise<T> => {
    const answer = await isolate.request(method, `/operator/v1${path}`, { token, ...(json ? { json } : {}) })
    expect(answer.status, answer.text).toBeLessThan(300)
    return answer.json<T & Record<string, unknown>>()
  }
  /** Delivers what the queue has. Resolves to the number of messages that were acknowledged. */
  const deliver = async (name = 'banyan-jobs'): Promise<number> => {
    const messages = queue.sent.splice(0).map((body) => ({ id: body.id, timestamp: new Date(), attempts: 1, body }))
    const batch = createMessageBatch(name, messages)
    const context = createExecutionContext()
    await worker.queue(batch, isolate.env, context)
    const { explicitAcks } = await getQueueResult(batch, context)
    await waitOnExecutionContext(context)
    return explicitAcks.length
  }
  return { queue, isolate, ask, deliver }
}

const DAY_MS = 86_400_000
const idOf = (slot: string, n: number) => `${slot}01hf7yat00${String(n).padStart(16, '0')}`

/** A dead job and its letter. `diedAt` orders the list. */
async function letter(slot: string, n: number, kind: string, diedAt: number, createdAt = Date.now()): Promise<string> {
  const id = idOf(slot, n)
  const shard = slot < '8000' ? bindings.SHARD_000 : bindings.SHARD_001
  const history = JSON.stringify([{ at: 1_700_000_000_000, attempt: 1, error: 'no answer' }])
  await shard.batch([
    shard
      .prepare(
        `INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at) VALUES (?, ?, ?, '{}', 'dead', 8, 0, ?)`,
      )
      .bind(id, id, kind, createdAt),
    shard
      .prepare(
        `INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at, created_at, history)
         VALUES (?, ?, ?, '{}', 'no answer', 8, ?, ?, ?)`,
      )
      .bind(id, id, kind, diedAt, createdAt, history),
  ])
  return id
}

interface Page {
  items: { id: string; kind: string }[]
  next: string | null
  failed: string[]
}
interface Kinds {
  items: { kind: string; queue: string; waiting: number; dead: number; running: number; paused: boolean }[]
  failed: string[]
}

/** The second shard does not answer while `isDown`. */
function troubled() {
  const state = { isDown: true }
  const SHARD_001 = linkedDatabase(bindings.SHARD_001, async (send) => {
    if (state.isDown) throw connectionLost()
    return send()
  })
  return { state, ...setUp({ SHARD_001 } as Partial<Env>) }
}

describe('the list of dead letters', () => {
  test('has the letters of all shards once, the newest death first, with their histories', async () => {
    const { ask } = setUp()
    const ids: string[] = []
    for (let n = 0; n < 7; n++)
      ids.push(await letter(n % 2 ? '9000' : '1000', n, n < 5 ? 'a' : 'b', 1_700_000_000_000 + n))
    const found: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Page = await ask('GET', `/dead-letters?limit=3&cursor=${cursor}`)
      found.push(...page.items.map(({ id }) => id))
      cursor = page.next
    }
    expect(found).toEqual(ids.toReversed())
    const { items } = await ask<Page>('GET', '/dead-letters?kind=b')
    expect(items.map(({ id }) => id)).toEqual([ids[6], ids[5]])
    expect(items[1]).toEqual({
      id: ids[5],
      kind: 'b',
      attempts: 8,
      error: 'no answer',
      history: [{ at: '2023-11-14T22:13:20.000Z', attempt: 1, error: 'no answer' }],
      createdAt: expect.stringMatching(/Z$/),
      diedAt: '2023-11-14T22:13:20.005Z',
    })
  })

  test('names a shard that does not answer, and a redrive leaves its letters', async () => {
    const { ask, state } = troubled()
    const here = await letter('1000', 1, 'a', 1)
    const there = await letter('9000', 2, 'a', 2)
    expect(await ask('GET', '/dead-letters')).toMatchObject({ items: [{ id: here }], failed: ['shard-001'] })
    const taken = { count: 1, tooOld: 0, remaining: false, failed: ['shard-001'] }
    expect(await ask('POST', '/dead-letters/redrive', { kind: 'a' })).toEqual(taken)
    expect(await ask('POST', '/dead-letters/redrive', { ids: [here, there] })).toEqual({ ...taken, count: 0 })
    state.isDown = false
    expect((await ask<Page>('GET', '/dead-letters')).items.map(({ id }) => id)).toEqual([there])
  })
})

describe('redriving and discarding', () => {
  test('one letter is redriven once, and an unknown one is not found', async () => {
    const { ask, isolate, queue } = setUp()
    const id = await letter('1000', 1, 'claims.confirm', 1)
    const path = `/operator/v1/dead-letters/${id}/redrive`
    expect(await ask('POST', `/dead-letters/${id}/redrive`)).toEqual({
      count: 1,
      tooOld: 0,
      remaining: false,
      failed: [],
    })
    expect(queue.sent).toMatchObject([{ id, kind: 'claims.confirm', attempts: 0 }])
    for (const none of [path, '/operator/v1/dead-letters/none/redrive']) {
      const answer = await isolate.request('POST', none, { token })
      expect([answer.status, answer.json()]).toMatchObject([404, { code: 'NOT_FOUND' }])
    }
    const old = await letter('1000', 2, 'a', 1, Date.now() - 29 * DAY_MS)
    expect(await ask('POST', `/dead-letters/${old}/redrive`)).toMatchObject({ count: 0, tooOld: 1 })
    expect(await ask('POST', '/dead-letters/discard', { ids: [old, id] })).toMatchObject({ count: 1 })
    expect((await rows('outbox')).map((row) => row.id)).toEqual([id])
  })

  test.each([
    [{}, ''],
    [{ ids: [] }, '/ids'],
    [{ ids: ['none'] }, '/ids/0'],
    [{ ids: Array.from({ length: 101 }, (_, n) => idOf('1000', n)) }, '/ids'],
    [{ kind: '' }, '/kind'],
    [{ kind: 'a', all: true }, '/all'],
  ])('%j is refused', async (json, pointer) => {
    const { isolate } = setUp()
    for (const verb of ['redrive', 'discard']) {
      const answer = await isolate.request('POST', `/operator/v1/dead-letters/${verb}`, { token, json })
      expect([answer.status, answer.json()]).toMatchObject([422, { code: 'INVALID', errors: [{ pointer }] }])
    }
  })
})

describe('kinds of jobs', () => {
  const kindsOf = async ({ ask }: Pick<ReturnType<typeof setUp>, 'ask'>) =>
    (await ask<Kinds>('GET', '/jobs/kinds')).items

  test('are all that the Worker knows or that have rows, with what waits, runs and is dead in all shards', async () => {
    const worker = setUp()
    const known = await kindsOf(worker)
    expect(known).toContainEqual({
      kind: 'cache.purge',
      queue: 'purges',
      waiting: 0,
      running: 0,
      dead: 0,
      oldestMs: null,
      paused: false,
      atLeast: false,
    })
    await letter('1000', 1, 'unheard-of', 1)
    await letter('9000', 2, 'unheard-of', 1)
    await letter('9000', 3, 'unheard-of', 1, Date.now() - 90_000)
    await runEverywhere("UPDATE outbox SET state = 'waiting' WHERE id IN (?, ?)", idOf('1000', 1), idOf('9000', 3))
    await runEverywhere('DELETE FROM dead_letters WHERE id IN (?, ?)', idOf('1000', 1), idOf('9000', 3))
    await bindings.SHARD_000.prepare(
      "INSERT INTO job_records VALUES ('100001', 'o', 'unheard-of', 'running', 0, 0, NULL, 0, 0, NULL, NULL, 1, 1)",
    ).run()
    const [item, ...others] = (await kindsOf(worker)).filter(({ kind }) => kind === 'unheard-of')
    expect(item).toMatchObject({ queue: 'jobs', waiting: 2, running: 1, dead: 1, paused: false, atLeast: false })
    expect((item as unknown as { oldestMs: number }).oldestMs).toBeGreaterThanOrEqual(90_000)
    expect(others).toEqual([])
    // The source of a move keeps its rows until the purge.
    await bindings.SHARD_000.prepare(
      "UPDATE slots SET state = 'moved' WHERE keyspace = 'users' AND slot = '1000'",
    ).run()
    const counted = (await kindsOf(worker)).find(({ kind }) => kind === 'unheard-of')
    await bindings.SHARD_000.prepare(
      "UPDATE slots SET state = 'active' WHERE keyspace = 'users' AND slot = '1000'",
    ).run()
    expect(counted).toMatchObject({ waiting: 1, running: 0, dead: 1 })
  })

  test('are counted at most to a bound per shard, and a shard without an answer is named', async () => {
    const { ask } = troubled()
    await bindings.SHARD_000.prepare(
      `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
       INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at)
       SELECT '1000' || printf('%026d', n), 'o', 'many', '{}', 'waiting', 0, 0, 1 FROM n`,
    )
      .bind(limits.kindRowsMax + 1)
      .run()
    const { items, failed } = await ask<Kinds>('GET', '/jobs/kinds')
    expect(items.find(({ kind }) => kind === 'many')).toMatchObject({ waiting: limits.kindRowsMax, atLeast: true })
    expect(failed).toEqual(['shard-001'])
  })

  test('that nothing knows cannot be paused, but a paused one can be resumed', async () => {
    const { ask, isolate } = setUp()
    const path = '/operator/v1/jobs/kinds/unheard-of'
    for (const none of [path, '/operator/v1/jobs/queues/none']) {
      const answer = await isolate.request('PATCH', none, { token, json: { paused: true } })
      expect([answer.status, answer.json()]).toMatchObject([404, { code: 'NOT_FOUND' }])
    }
    const id = await letter('1000', 1, 'unheard-of', 1)
    expect(await ask('PATCH', '/jobs/kinds/unheard-of', { paused: true })).toMatchObject({ dead: 1, paused: true })
    await ask('POST', '/dead-letters/discard', { ids: [id] })
    expect(await ask('PATCH', '/jobs/kinds/unheard-of', { paused: false })).toMatchObject({ dead: 0, paused: false })
    expect((await isolate.request('PATCH', path, { token, json: { paused: true } })).status).toBe(404)
  })

  test('and the other routes are for operators', async () => {
    const { isolate } = setUp()
    for (const path of ['/dead-letters', '/jobs/kinds', '/jobs/queues'])
      expect((await isolate.request('GET', `/operator/v1${path}`)).status).toBe(401)
  })
})

test('queues show what waits in them, or why they do not answer', async () => {
  const metrics = async () => ({
    backlogCount: 3,
    backlogBytes: 4_000,
    oldestMessageTimestamp: new Date(Date.now() - 60_000),
  })
  const { ask } = setUp({ MEDIA_QUEUE: { metrics } as unknown as Queue })
  const { items } = await ask<{ items: { queue: string }[] }>('GET', '/jobs/queues')
  expect(items.map(({ queue }) => queue)).toEqual(['mail', 'jobs', 'media', 'purges'])
  // The test's double has no metrics; the runtime's own queue has.
  expect(items[1]).toMatchObject({
    messages: null,
    bytes: null,
    oldestMs: null,
    paused: false,
    error: expect.any(String),
  })
  expect(items[2]).toMatchObject({ messages: 3, bytes: 4_000, oldestMs: expect.closeTo(60_000, -4), error: null })
  expect(items[3]).toEqual({ queue: 'purges', messages: 0, bytes: 0, oldestMs: null, paused: false, error: null })
})

describe.each([
  ['a kind', '/jobs/kinds/mail.verify-email'],
  ['a queue', '/jobs/queues/mail'],
])('%s that an operator pauses', (_what, path) => {
  test('runs no job, loses none, and continues when it is resumed', async () => {
    const { ask, isolate, queue, deliver } = setUp()
    expect(await ask('PATCH', path, { paused: true })).toMatchObject({ paused: true })
    await isolate.request('POST', '/api/v1/accounts', { json: somebody() })
    const sent = queue.sent.length
    expect(sent).toBeGreaterThanOrEqual(3)
    expect(await deliver()).toBe(sent)
    expect(isolate.mails).toEqual([])
    const parked = await rows('outbox')
    expect(parked.map(({ state }) => state)).toEqual(['paused'])
    await isolate.cron(Date.now())
    expect(queue.sent).toEqual([])

    expect(await ask('PATCH', path, { paused: false })).toMatchObject({ paused: false })
    await isolate.cron(Date.now())
    expect(queue.sent.map(({ id }) => id).toSorted()).toEqual(parked.map(({ id }) => id).toSorted())
    await deliver()
    expect([isolate.mails.length, await rows('outbox')]).toEqual([1, []])
  })
})
