import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import type { Env } from '../../../workers/env.ts'
import { drive, planMove, settleNow } from '../../support/moving.ts'
import { connectionLost, linkedDatabase, silence } from '../../support/sharding-doubles.ts'
import { somebody, type WorkerAnswer, type WorkerRequest, workerIsolate } from '../../support/worker-isolate.ts'
import { type Counts, countedEnv } from '../calls/counted-env.ts'

// Posts and profiles over HTTP, through the real Worker with its cache. Each isolate has a memory of its own.

const bindings = env as unknown as Env
const SECOND = 1_000
const original = { ...limits }

/** What the shards do with a call. */
let shards: 'answer' | 'fail' | 'hang'

const { now } = Date
let passedMs = 0

beforeEach(() => {
  shards = 'answer'
  passedMs = 0
  vi.spyOn(Date, 'now').mockImplementation(() => now() + passedMs)
})
afterEach(() => {
  Object.assign(limits, original)
  vi.restoreAllMocks()
})

const pass = (ms: number) => {
  passedMs += ms
}

/** An isolate whose shards can fail, and that counts its calls. */
function isolate(settings: Partial<Env> = {}) {
  const meet = (send: () => Promise<unknown>) => {
    if (shards === 'hang') return silence()
    if (shards === 'fail') throw connectionLost()
    return send()
  }
  const faulty = Object.fromEntries(
    Object.entries(bindings)
      .filter(([name]) => /^SHARD_\d{3}$/.test(name))
      .map(([name, database]) => [name, linkedDatabase(database as unknown as D1Database, async (send) => meet(send))]),
  )
  const counted = countedEnv({ ...bindings, ...faulty } as Env, { CACHE: 'on', ...settings })
  counted.openQueues()
  const { request } = workerIsolate(counted.env)
  /** A request, and the calls that it and its background work made. */
  async function ask(method: string, path: string, options?: WorkerRequest): Promise<WorkerAnswer & { calls: Counts }> {
    const before = { ...counted.counts }
    const answer = await request(method, path, options)
    const { d1, kv, directory } = counted.counts
    const calls = { d1: d1 - before.d1, kv: kv - before.kv, directory: directory - before.directory }
    return { ...answer, calls }
  }
  return { ask, counts: counted.counts }
}

interface Author {
  handle: string
  token: string
  /** The path of the author's post. */
  post: string
}

/** Somebody with a post, both created at another isolate. */
async function author(at = isolate()): Promise<Author> {
  const person = somebody()
  const signedUp = await at.ask('POST', '/api/v1/accounts', { json: person })
  expect(signedUp.status, signedUp.text).toBe(201)
  const { token } = signedUp.json<{ token: string }>()
  const posted = await at.ask('POST', '/api/v1/posts', { token, json: { text: 'first' } })
  expect(posted.status, posted.text).toBe(201)
  return { handle: person.handle, token, post: `/api/v1/posts/${posted.json<{ post: { id: string } }>().post.id}` }
}

const textOf = (answer: WorkerAnswer) => answer.json<{ post: { text: string } }>().post.text
const statusOf = ({ headers }: WorkerAnswer) => headers.get('cache-status')

/** In tens of seconds, because the test itself takes time. */
const ttlOf = (answer: WorkerAnswer) => Math.ceil(Number(/ttl=(-?\d+)/.exec(statusOf(answer) ?? '')?.[1]) / 10) * 10

describe('with all shards down', () => {
  test.each(['fail', 'hang'] as const)(
    'which %s: within the grace period the stale answer, with a negative ttl; then 503 with Retry-After and a code',
    async (how) => {
      Object.assign(limits, { cacheSoftMs: 100, cacheReadMs: 500, shardCallMs: 150, routeBudgetMs: 400 })
      const { post, handle } = await author()
      const { ask } = isolate()
      expect(statusOf(await ask('GET', post))).toMatch(
        /^banyan; fwd=miss; stored; ttl=(59|60); key="post.2"; detail=shard$/,
      )
      const page = `/@${handle}`
      if (how === 'fail') await ask('GET', page)
      shards = how

      pass(50 * SECOND)
      const fresh = await ask('GET', post)
      expect([fresh.status, ttlOf(fresh)]).toEqual([200, 10])
      pass(20 * SECOND)
      const stale = await ask('GET', post)
      expect([stale.status, ttlOf(stale)]).toEqual([200, -10])
      pass(280 * SECOND)
      const grace = await ask('GET', post)
      expect([grace.status, textOf(grace)]).toEqual([200, 'first'])
      expect([statusOf(grace)?.startsWith('banyan; fwd=stale; '), ttlOf(grace)]).toEqual([true, -290])
      if (how === 'fail') expect((await ask('GET', page)).text).toContain('first')

      pass(11 * SECOND)
      for (const path of how === 'fail' ? [post, `/api/v1/users/${handle}`] : [post]) {
        const late = await ask('GET', path)
        expect([late.status, late.json().code]).toEqual([503, 'SHARD_UNAVAILABLE'])
        expect(late.headers.get('retry-after')).toMatch(/^\d+$/)
      }
      shards = 'answer'
      expect((await ask('GET', post)).status).toBe(200)
    },
  )
})

test('a viral post: 10,000 reads over three instances cause one D1 read per instance, and other requests make the same calls', async () => {
  const instances = [isolate(), isolate(), isolate()]
  const [star, other] = [await author(), await author()]
  const others = [
    ['GET', '/api/v1/me', other.token],
    ['GET', other.post, other.token],
    ['GET', '/', other.token],
    ['GET', '/api/v1/sessions', other.token],
  ] as const
  const costs = async ({ ask }: ReturnType<typeof isolate>) => {
    const counts: Counts[] = []
    for (const [method, path, token] of others) counts.push((await ask(method, path, { token })).calls)
    return counts
  }
  const quiet = isolate()
  await costs(quiet)
  const before = await costs(quiet)

  const reads = { d1: 0, kv: 0 }
  for (const instance of instances) {
    await costs(instance) // it has a map, and the session's copy
    const first = { ...instance.counts }
    for (let round = 0; round < 34; round++) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => instance.ask('GET', star.post)))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    }
    expect(instance.counts.d1 - first.d1).toBeLessThanOrEqual(1)
    reads.d1 += instance.counts.d1 - first.d1
    reads.kv += instance.counts.kv - first.kv
    expect(await costs(instance), 'meanwhile').toEqual(before)
  }
  console.log(`10,200 reads of one post over three instances: ${reads.d1} D1 reads, ${reads.kv} calls of KV`)
})

test('authors read their own writes at any instance; others read them at the latest when the TTL is over', async () => {
  const [first, second] = [isolate(), isolate()]
  const { post, token } = await author(first)
  for (const { ask } of [first, second]) await ask('GET', post)
  const edited = await first.ask('PATCH', post, { token, json: { text: 'second' } })
  const causal = { 'x-causal-token': edited.headers.get('x-causal-token')! }
  const own = await second.ask('GET', post, { token, headers: causal })
  expect([textOf(own), statusOf(own)]).toEqual(['second', 'banyan; fwd=bypass; key="post.2"; detail=own'])
  expect(textOf(await second.ask('GET', post, { headers: causal })), 'signed out since').toBe('second')
  pass(60 * SECOND)
  await second.ask('GET', post)
  expect(textOf(await second.ask('GET', post))).toBe('second')

  expect((await first.ask('DELETE', post, { token })).status).toBe(204)
  expect((await first.ask('GET', post)).status).toBe(404)
  expect((await second.ask('GET', post, { token, headers: causal })).status).toBe(404)
})

describe('a slot that has moved', () => {
  test('a read of a post that an isolate with an old map has never seen finds it at the new owner, in every state of the move', async () => {
    const [at, stale, late] = [isolate(), isolate(), isolate()]
    const { post, token } = await author(at)
    const slot = slotOf(post.slice('/api/v1/posts/'.length))
    // They have a map of before the move, whose lease lasts longer than this test.
    for (const { ask } of [stale, late]) await ask('GET', '/api/v1/users/nobody_here')
    const target = slot < '8000' ? 'shard-001' : 'shard-000'
    const { id } = await planMove('users', slot, target)
    const check = async (point: string) => {
      const text = `written at ${point}`
      const posted = await at.ask('POST', '/api/v1/posts', { token, json: { text } })
      expect([point, posted.status]).toEqual([point, 201])
      const path = `/api/v1/posts/${posted.json<{ post: { id: string } }>().post.id}`
      const read = await stale.ask('GET', path)
      expect([point, read.status, read.text]).toEqual([point, 200, read.text])
      expect(textOf(read)).toBe(text)
    }
    await drive(id, (point) =>
      ['captured', 'activated', 'retired', 'settling'].includes(point) ? check(point) : undefined,
    )
    await settleNow(id)
    expect((await drive(id)).state).toBe('done')
    await check('done')
    // A leased read at the old owner would find nothing, because its rows were purged before the lease's end.
    expect(textOf(await late.ask('GET', post))).toBe('first')
    expect(textOf(await late.ask('GET', post))).toBe('first')
  })
})

test('CACHE=off: every read is a call of the shard, and no answer has a cache-status', async () => {
  const { post } = await author()
  const { ask } = isolate({ CACHE: 'off' })
  for (let reads = 0; reads < 3; reads++) {
    const answer = await ask('GET', post)
    expect([answer.calls.d1, answer.calls.kv, statusOf(answer)]).toEqual([1, 0, null])
  }
})
