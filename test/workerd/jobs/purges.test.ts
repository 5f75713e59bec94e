import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { beforeEach, describe, expect, test } from 'vitest'
import { createPost, deletePost } from '../../../src/app/posts/posts.ts'
import type { Clock } from '../../../src/core/clock.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import { consumePurges, newPurge, type PurgePages, Purger, purgeKinds } from '../../../src/jobs/purges.ts'
import '../../support/light-passwords.ts'
import { cachedWorker } from '../../support/cached-worker.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { somebody } from '../../support/worker-isolate.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

/** A clock that only sleeping moves. */
class SleepingClock implements Clock {
  time = 0
  now = () => this.time
  sleep = async (ms: number) => {
    this.time += ms
  }
}

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  const clock = new SleepingClock()
  const cache = new WorkersCache(clock)
  const called: { at: number; tags: string[]; success: boolean }[] = []
  const { purge } = cache.entrypoint('PublicPages', async () => new Response()).cache
  const purgePages: PurgePages = async (tags) => {
    const { success } = await purge({ tags })
    called.push({ at: clock.time, tags, success })
    if (!success) throw new Error('refused')
    return 'purged'
  }
  const ada = await member(world)
  /** One delivery, as a new invocation. */
  const deliver = async (jobs: Job[], { attempts = 1, purge = purgePages } = {}) => {
    const purger = new Purger(purge)
    const { dispatch, tiers } = world.isolate({ kinds: purgeKinds(purger) })
    const messages = jobs.map((body, n) => ({ id: String(n), timestamp: new Date(0), attempts, body }))
    const batch = createMessageBatch('banyan-purges', messages)
    await consumePurges(batch, { dispatch, purger, clock, log: tiers.log })
    const { explicitAcks, retryMessages } = await getQueueResult(batch, createExecutionContext())
    return { acked: explicitAcks.length, retried: retryMessages.map(({ msgId }) => jobs[Number(msgId)]!) }
  }
  const { tiers } = world.isolate()
  const purges = (count: number) =>
    Array.from({ length: count }, (_, n) => newPurge(tiers.ids, tiers.clock, ada.userId, `post:${n}`))
  return { world, ada, clock, cache, called, deliver, purges }
}

describe('a batch of purges', () => {
  test('is one call with every tag once, and the next call follows 12 s later', async () => {
    const { deliver, purges, called, clock } = await setUp()
    const [first, second] = [purges(100), purges(3)]
    expect(await deliver([...first.slice(0, 99), first[0]!])).toEqual({ acked: 100, retried: [] })
    expect(clock.time).toBe(12_000)
    await deliver(second)
    expect(called.map(({ at, tags }) => [at, tags.length])).toEqual([
      [0, 99],
      [12_000, 3],
    ])
  })

  test('whose call is refused is repeated message by message, and waits too', async () => {
    const { deliver, purges, cache, clock, called } = await setUp()
    cache.isPurgeDown = true
    const { acked, retried } = await deliver(purges(3))
    expect([acked, retried.length, clock.time]).toEqual([0, 3, 12_000])
    cache.isPurgeDown = false
    expect(await deliver(retried, { attempts: 2 })).toEqual({ acked: 3, retried: [] })
    expect(called).toHaveLength(1)
  })

  test('of 700 deletions makes at most five calls in any minute, and none is refused', async () => {
    const { deliver, purges, called } = await setUp()
    const jobs = purges(700)
    while (jobs.length > 0) await deliver(jobs.splice(0, 100))
    expect(called).toHaveLength(7)
    expect(called.every(({ success }) => success)).toBe(true)
    for (const { at } of called)
      expect(called.filter((other) => other.at >= at && other.at < at + 60_000).length).toBeLessThanOrEqual(5)
  })

  test('in a runtime without a cache is done at once', async () => {
    const { deliver, purges, clock } = await setUp()
    expect(await deliver(purges(2), { purge: async () => 'no cache' })).toEqual({ acked: 2, retried: [] })
    expect(clock.time).toBe(0)
  })
})

describe('the deletion of a post', () => {
  const published = async (world: World, author: Member) => {
    const isolate = world.isolate({ settings: { cache: 'on', jobs: 'queue' }, mode: 'queue' })
    const post = await createPost(isolate.tiers, author.session, 'Soon gone.', null)
    return { ...isolate, isolate, post }
  }

  test('commits the purge of its pages with it, and sends it after the response', async () => {
    const { world, ada } = await setUp()
    const { isolate, tiers, post } = await published(world, ada)
    await deletePost(tiers, ada.session, post.id)
    expect(await rows('outbox')).toMatchObject([
      { kind: 'cache.purge', body: JSON.stringify({ tag: `post:${post.id}` }) },
    ])
    await isolate.afterResponse()
    expect(world.queued.map(({ kind }) => kind)).toEqual(['cache.purge'])
  })

  test('twice commits one purge', async () => {
    const { world, ada } = await setUp()
    const { tiers, post } = await published(world, ada)
    await deletePost(tiers, ada.session, post.id)
    await expect(deletePost(tiers, ada.session, post.id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await rows('outbox')).toHaveLength(1)
  })

  test('with CACHE=off commits none', async () => {
    const { world, ada } = await setUp()
    const { tiers } = world.isolate({ settings: { cache: 'off' } })
    const post = await createPost(tiers, ada.session, 'Soon gone.', null)
    await deletePost(tiers, ada.session, post.id)
    expect(await rows('outbox')).toEqual([])
  })

  test('with JOBS=inline purges the page and the profile when the response has been sent', async () => {
    const cache = new WorkersCache({ now: () => 0 })
    const { request } = cachedWorker(cache)
    const given = somebody()
    const { token } = (await request('POST', '/api/v1/accounts', { json: given })).json<{ token: string }>()
    const post = async (text: string) =>
      (await request('POST', '/api/v1/posts', { json: { text }, token })).json<{ post: { id: string } }>().post.id
    const [kept, gone] = [await post('It stays.'), await post('Soon gone.')]
    const status = async (path: string) => {
      const { headers, text } = await request('GET', path)
      return [headers.get('cache-status'), text.includes('Soon gone.')]
    }
    const paths = [`/posts/${gone}`, `/posts/${kept}`, `/@${given.handle}`]
    for (const path of paths) await request('GET', path)
    expect(await Promise.all(paths.map(status))).toEqual([
      ['PublicPages; hit', true],
      ['PublicPages; hit', false],
      ['PublicPages; hit', true],
    ])
    expect((await request('DELETE', `/api/v1/posts/${gone}`, { token })).status).toBe(204)
    expect(await Promise.all(paths.map(status))).toEqual([
      [null, false],
      ['PublicPages; hit', false],
      ['PublicPages; fwd=miss; stored', false],
    ])
  })
})
