import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/core/clock.ts'
import { type Job, outboxStatement } from '../../../src/jobs/outbox.ts'
import { consumePurges, type PurgePages, Purger, purgeKinds, purgesOf } from '../../../src/jobs/purges.ts'
import '../../support/light-passwords.ts'
import { member } from '../../support/members.ts'
import { emptyShards } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

/** A clock that only sleeping moves. */
class SleepingClock implements Clock {
  readonly startedAt = Date.now()
  time = this.startedAt
  now = () => this.time
  get elapsed() {
    return this.time - this.startedAt
  }
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
    if (tags.length === 0) return 'purged'
    const { success } = await purge({ tags })
    called.push({ at: clock.elapsed, tags, success })
    if (!success) throw new Error('refused')
    return 'purged'
  }
  const ada = await member(world)
  /** One delivery, as a new invocation. */
  const deliver = async (jobs: Job[], { attempts = 1, purge = purgePages } = {}) => {
    const purger = new Purger(purge)
    const { dispatch, tiers } = world.isolate({ kinds: purgeKinds(purger) })
    const messages = jobs.map((body, n) => ({ id: String(n), timestamp: new Date(body.createdAt), attempts, body }))
    const batch = createMessageBatch('banyan-purges', messages)
    const delays: (number | undefined)[] = []
    for (const message of batch.messages) {
      const retry = message.retry.bind(message)
      message.retry = (options) => {
        delays.push(options?.delaySeconds)
        retry(options)
      }
    }
    await consumePurges(batch, { dispatch, purger, clock, log: tiers.log })
    const { explicitAcks, retryMessages } = await getQueueResult(batch, createExecutionContext())
    const retried = retryMessages.map(({ msgId }) => jobs[Number(msgId)]!)
    return { acked: explicitAcks.length, retried, delays }
  }
  const { tiers } = world.isolate()
  /** Purges of deletions that happened a while ago. */
  const purges = (count: number, createdAt = clock.time - 600_000) =>
    Array.from({ length: count }, (_, n) => purgesOf({ ...tiers, settings: { cache: 'on' } }, ada.userId, `note:${n}`))
      .flat()
      .map((job) => ({ ...job, createdAt }))
  return { world, tiers, ada, clock, cache, called, deliver, purges }
}

describe('a batch of purges', () => {
  test('is one call with every tag once, and the next call follows 12 s later', async () => {
    const { deliver, purges, called, clock } = await setUp()
    const [first, second] = [purges(100), purges(3)]
    expect(await deliver([...first.slice(0, 99), first[0]!])).toMatchObject({ acked: 100, retried: [] })
    expect(clock.elapsed).toBe(12_000)
    await deliver(second)
    expect(called.map(({ at, tags }) => [at, tags.length])).toEqual([
      [0, 99],
      [12_000, 3],
    ])
  })

  test('repeats the tag of a recent deletion once no isolate has the row in its cache', async () => {
    const { deliver, purges, called, clock } = await setUp()
    const recent = purges(1, clock.time - 3_000)
    expect(await deliver([...purges(2), ...recent])).toEqual({ acked: 2, retried: recent, delays: [147] })
    expect(called.map(({ at, tags }) => [at, tags.length])).toEqual([[0, 2]])
    clock.time += 147_000
    expect(await deliver(recent, { attempts: 2 })).toEqual({ acked: 1, retried: [], delays: [] })
    expect(called).toHaveLength(2)
    // A clock that is ahead costs no more.
    expect((await deliver(purges(1, clock.time + 3_600_000))).delays).toEqual([150])
  })

  test('whose call is refused is repeated message by message, and waits too', async () => {
    const { deliver, purges, cache, clock, called, tiers } = await setUp()
    cache.isPurgeDown = true
    const jobs = purges(3)
    for (const job of jobs) await outboxStatement(tiers.shards.of(job.id), job).run()
    const { acked, retried } = await deliver(jobs)
    expect([acked, retried.length, clock.elapsed]).toEqual([0, 3, 12_000])
    cache.isPurgeDown = false
    expect(await deliver(retried, { attempts: 2 })).toMatchObject({ acked: 3, retried: [] })
    expect(called).toHaveLength(1)
  })

  test('after another makes at most five calls in any minute, and none is refused', async () => {
    const { deliver, purges, called } = await setUp()
    const jobs = purges(35)
    while (jobs.length > 0) await deliver(jobs.splice(0, 5))
    expect(called).toHaveLength(7)
    expect(called.every(({ success }) => success)).toBe(true)
    for (const { at } of called)
      expect(called.filter((other) => other.at >= at && other.at < at + 60_000).length).toBeLessThanOrEqual(5)
  })

  test('in a runtime without a cache is done at once', async () => {
    const { deliver, purges, clock } = await setUp()
    expect(await deliver(purges(2), { purge: async () => 'no cache' })).toMatchObject({ acked: 2, retried: [] })
    expect(clock.elapsed).toBe(0)
  })
})
