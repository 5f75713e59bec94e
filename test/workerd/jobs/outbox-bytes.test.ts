import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import { member } from '../../support/members.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'

const MINUTE_MS = 60_000
const SWEEP_AFTER_MS = 30_000
const ran: Job[] = []
const kinds: JobKinds = {
  note: { queue: 'jobs', attemptsMax: 3, backoffBaseSeconds: 10, run: async (job) => void ran.push(job) },
}

beforeEach(async () => {
  ran.length = 0
  await emptyShards()
})

async function setUp(mode: 'queue' | 'inline' = 'queue') {
  const world = new World()
  const { userId } = await member(world)
  const isolate = () => world.isolate({ mode, kinds })
  const { tiers } = isolate()
  /** In one batch, each a millisecond younger than the previous. */
  const commitMany = async (count: number, text: string): Promise<Job[]> => {
    const jobs: Job[] = []
    for (let n = 0; n < count; n++) {
      jobs.push(newJob(tiers.ids, tiers.clock, userId, 'note', { text }))
      world.clock.advance(1)
    }
    const database = tiers.shards.of(userId)
    await database.batch(jobs.map((job) => outboxStatement(database, job)))
    return jobs
  }
  const commit = async (text: string): Promise<Job> => (await commitMany(1, text))[0]!
  /** Sweeps once a minute. Resolves to the number of jobs in each sweep. */
  const sweep = async (minutes: number) => {
    const taken: number[] = []
    for (let minute = 0; minute < minutes; minute++) {
      taken.push(await isolate().relay.sweep())
      world.clock.advance(MINUTE_MS)
    }
    return taken
  }
  const waiting = async () => (await rows('outbox', "state = 'waiting'")).map(({ id }) => id)
  return { world, isolate, commit, commitMany, sweep, waiting }
}

const ids = (jobs: Job[]) => jobs.map(({ id }) => id).sort()

describe('jobs that exceed a batch', () => {
  test.each([
    ['100 of 100 bytes', 100, 100],
    ['100 of 3 KB', 100, 3_000],
    ['5 of 120 KB', 5, 120_000],
    ['1 of 140 KB', 1, 140_000],
  ])('%s, and 10 small ones after them: all are sent in two minutes', async (_, count, bytes) => {
    const { world, commitMany, sweep, waiting } = await setUp()
    const large = await commitMany(count, 'x'.repeat(bytes))
    const small = await commitMany(10, '')
    world.clock.advance(SWEEP_AFTER_MS)
    await sweep(2)
    expect(ids(world.queued)).toEqual(ids([...large, ...small]))
    expect([await waiting(), await rows('dead_letters')]).toEqual([[], []])
  })

  test('after the commit, they are sent at once', async () => {
    const { world, isolate, commitMany, waiting } = await setUp()
    const jobs = [...(await commitMany(100, 'x'.repeat(3_000))), ...(await commitMany(1, ''))]
    await isolate().relay.send(jobs)
    expect([world.queued.length, await waiting()]).toEqual([101, []])
  })

  test('a sweep reads at most 8 MB over all shards, and the next continues', { timeout: 30_000 }, async () => {
    const { world, commitMany, sweep } = await setUp()
    const jobs = await commitMany(50, 'x'.repeat(100_000))
    world.clock.advance(SWEEP_AFTER_MS)
    // Two shards, with 4 MB of each.
    expect(await sweep(3)).toEqual([39, 11, 0])
    expect(ids(world.queued)).toEqual(ids(jobs))
  })
})

describe('a job that is too large for a message', () => {
  test.each(['queue', 'inline'] as const)('%s: runs with its whole body, after the commit', async (mode) => {
    const { world, isolate, commit } = await setUp(mode)
    const [before, large, after] = [await commit(''), await commit('x'.repeat(140_000)), await commit('')]
    await isolate().relay.send([before, large, after])
    if (mode === 'queue') {
      expect(world.queued.find(({ id }) => id === large.id)).toMatchObject({ body: {}, bodyIn: 'row' })
      for (const job of world.queued) expect(await isolate().dispatch.run(job, 1)).toEqual({ kind: 'done' })
    }
    expect(ran.map(({ id, body }) => [id, String(body.text).length]).toSorted()).toEqual(
      [
        [before.id, 0],
        [large.id, 140_000],
        [after.id, 0],
      ].toSorted(),
    )
    expect([await rows('outbox'), await rows('dead_letters')]).toEqual([[], []])
  })

  test('is sent by the sweeper, which does not read its body; a late message of it does nothing', async () => {
    const { world, isolate, commit, sweep } = await setUp()
    const large = await commit('x'.repeat(261_000))
    world.clock.advance(SWEEP_AFTER_MS)
    expect(await sweep(2)).toEqual([1, 0])
    for (let times = 0; times < 2; times++) await isolate().dispatch.run(world.queued[0]!, 1)
    expect(ran.map(({ id }) => id)).toEqual([large.id])
    expect(await rows('outbox')).toEqual([])
  })

  test('is buried even if its body leaves no room for the reason: the outbox row keeps the body', async () => {
    const { isolate, commit } = await setUp()
    const large = await commit('x'.repeat(261_500))
    await isolate().dispatch.bury(large, 3, 'gave up')
    const bytes = JSON.stringify(large.body).length
    expect(await rows('dead_letters')).toEqual([
      expect.objectContaining({ id: large.id, body: JSON.stringify({ bodyBytes: bytes }) }),
    ])
    expect(await rows('outbox')).toEqual([expect.objectContaining({ state: 'dead', body: JSON.stringify(large.body) })])
  })

  test('an error of any length is recorded, shortened', async () => {
    const { isolate, commit } = await setUp()
    const job = await commit('x'.repeat(240_000))
    await isolate().dispatch.bury(job, 3, '→'.repeat(100_000))
    expect((await rows('dead_letters'))[0]!.error).toBe('→'.repeat(2_000))
  })
})

test('a body that is not JSON makes a dead letter, and later jobs are sent', async () => {
  const { world, commit, sweep } = await setUp()
  const broken = await commit('')
  await runEverywhere("UPDATE outbox SET body = '{' WHERE id = ?", broken.id)
  const behind = await commit('')
  world.clock.advance(SWEEP_AFTER_MS)
  expect(await sweep(1)).toEqual([2])
  expect(world.queued).toEqual([behind])
  expect(await rows('dead_letters')).toEqual([expect.objectContaining({ id: broken.id, body: '{' })])
})

describe('a queue that refuses', () => {
  test('one message: the others of its batch are sent, in the same minute', async () => {
    const { world, commitMany, sweep, waiting } = await setUp()
    const jobs = await commitMany(120, '')
    const refused = jobs[42]!
    world.queue.onBatch = (some) => {
      if (some.some(({ id }) => id === refused.id)) throw new Error('Queue sendBatch failed: Bad Request')
    }
    world.clock.advance(SWEEP_AFTER_MS)
    expect(await sweep(1)).toEqual([99])
    expect(await sweep(1)).toEqual([20])
    expect([world.queued.length, await waiting()]).toEqual([119, [refused.id]])
  })

  test('some messages every minute: they wait behind the others, and all others are sent', async () => {
    const { world, commitMany, sweep, waiting } = await setUp()
    const jobs = await commitMany(120, '')
    const refused = new Set([0, 25, 50, 75, 100].map((place) => jobs[place]!.id))
    world.queue.onBatch = (some) => {
      if (some.some(({ id }) => refused.has(id))) throw new Error('Queue sendBatch failed: Bad Request')
    }
    world.clock.advance(SWEEP_AFTER_MS)
    await sweep(4)
    expect(world.queued).toHaveLength(115)
    expect((await waiting()).toSorted()).toEqual([...refused].toSorted())
  })

  test('everything: a sweep gives up after 16 calls, and the next finds the rows', async () => {
    const { world, commitMany, sweep, waiting } = await setUp()
    await commitMany(40, '')
    world.isQueueDown = true
    world.clock.advance(SWEEP_AFTER_MS)
    expect(await sweep(1)).toEqual([0])
    expect([world.queue.calls.length, (await waiting()).length]).toEqual([16, 40])
    world.isQueueDown = false
    expect(await sweep(1)).toEqual([40])
  })

  test('by not answering: the sender waits for 5 s, and the row waits for the sweeper', async () => {
    const { world, isolate, commit, waiting } = await setUp()
    const job = await commit('')
    const asked = Promise.withResolvers<void>()
    world.queue.onBatch = () => {
      asked.resolve()
      return new Promise(() => undefined)
    }
    const sending = isolate().relay.send([job])
    await asked.promise
    world.clock.advance(5_000)
    await sending
    expect(await waiting()).toEqual([job.id])
    expect(world.logged.filter((line) => line.includes('did not answer within 5000 ms'))).toHaveLength(1)
  })
})
