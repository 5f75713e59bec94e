import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { consume, consumeDead } from '../../../src/jobs/consumer.ts'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import worker from '../../../workers/main.ts'
import { member } from '../../support/members.ts'
import { emptyShards, rowCounts, rows, runEverywhere } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const kind = (run: () => Promise<void>) => ({ queue: 'jobs', attemptsMax: 3, backoffBaseSeconds: 10, run }) as const
const kinds: JobKinds = {
  good: kind(async () => {}),
  failing: kind(() => Promise.reject<void>(new Error('away'))),
  throwing: kind(() => {
    throw new Error('at once')
  }),
}

const message = (id: string, body: unknown, attempts = 1) => ({ id, timestamp: new Date(0), attempts, body })

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  const ada = await member(world)
  const isolate = world.isolate({ kinds })
  /** `attempts` have failed already. */
  const commit = async (name: string, attempts = 0): Promise<Job> => {
    const job = newJob(isolate.tiers.ids, isolate.tiers.clock, ada.userId, name, {})
    await outboxStatement(isolate.tiers.shards.of(ada.userId), job).run()
    await runEverywhere('UPDATE outbox SET attempts = ? WHERE id = ?', attempts, job.id)
    return job
  }
  /** Consumes a batch. Resolves to the outcome of each message. */
  const take = async (messages: ReturnType<typeof message>[], by: typeof consume = consume) => {
    const batch = createMessageBatch('banyan-jobs', messages)
    const context = createExecutionContext()
    await by(batch, isolate.dispatch, isolate.tiers.log)
    const { explicitAcks, retryMessages } = await getQueueResult(batch, context)
    return { acked: explicitAcks.toSorted(), retried: retryMessages }
  }
  return { world, ada, isolate, commit, take }
}

describe('a batch of messages', () => {
  test('each is acknowledged or retried by itself, and nothing is thrown', async () => {
    const { commit, take, world } = await setUp()
    const { acked, retried } = await take([
      message('a', await commit('good')),
      message('b', await commit('failing')),
      message('c', await commit('throwing', 1)),
      message('d', await commit('failing', 2)),
      message('e', await commit('unheard-of', 9)),
      // A job of a newer version, during a deployment.
      message('i', await commit('unheard-of')),
      message('f', 'nothing of ours'),
      message('g', { id: 'x', kind: 'good' }),
      message('h', null),
    ])
    expect(acked).toEqual(['a', 'd', 'e', 'f', 'g', 'h'])
    expect(retried.map(({ msgId }) => msgId).toSorted()).toEqual(['b', 'c', 'i'])
    expect((await rows('dead_letters')).map((row) => row.kind).toSorted()).toEqual(['failing', 'unheard-of'])
    expect(world.logged.filter((line) => line.includes('job.unreadable'))).toHaveLength(3)
  })

  test.each([
    [1, 20],
    [2, 40],
  ])('after attempt %d, a failed message is retried within %d seconds', async (attempts, secondsMax) => {
    const { commit, isolate } = await setUp()
    const retry = vi.fn<Message['retry']>()
    const failed = { ...message('a', await commit('failing', attempts - 1)), ack: () => undefined, retry }
    const batch = { queue: 'banyan-jobs', messages: [failed] } as unknown as MessageBatch
    await consume(batch, isolate.dispatch, isolate.tiers.log)
    expect(retry).toHaveBeenCalledOnce()
    const { delaySeconds } = retry.mock.calls[0]![0]!
    expect(delaySeconds).toBeGreaterThanOrEqual(0)
    expect(delaySeconds).toBeLessThanOrEqual(secondsMax)
  })

  test('a dead letter that cannot be written is retried and not lost', async () => {
    const { commit, take, isolate } = await setUp()
    const job = await commit('failing', 2)
    isolate.failAt('jobs.bury', new Error('D1_ERROR: out of order: SQLITE_ERROR'))
    expect(await take([message('a', job)])).toMatchObject({ acked: [], retried: [{ msgId: 'a' }] })
    expect((await take([message('a', job, 4)])).acked).toEqual(['a'])
    expect(await rows('dead_letters')).toHaveLength(1)
  })

  test('an incomplete job becomes a dead letter, or is acknowledged as unreadable; it is not retried permanently', async () => {
    const { commit, take } = await setUp()
    const { id, kind } = await commit('failing')
    expect((await take([message('a', { id, kind }, 3)])).acked).toEqual(['a'])
  })
})

describe('the dead-letter queue', () => {
  test('each job is recorded once, even if it arrives repeatedly, and an unreadable message is acknowledged and logged', async () => {
    const { commit, take, world } = await setUp()
    const job = await commit('good')
    for (let times = 0; times < 2; times++)
      expect(await take([message('a', job, 11), message('b', 7)], consumeDead)).toEqual({
        acked: ['a', 'b'],
        retried: [],
      })
    expect(await rows('dead_letters')).toEqual([expect.objectContaining({ id: job.id, kind: 'good', attempts: 11 })])
    expect((await rows('outbox')).map(({ state }) => state)).toEqual(['dead'])
    expect(world.logged.filter((line) => line.includes('job.unreadable'))).toHaveLength(2)
  })
})

describe('the jobs of a sign-up, through the whole Worker', () => {
  const consequences = async (mails: unknown[]) => ({
    claims: (await rows('claims')).map(({ state }) => state),
    outbox: (await rows('outbox')).map(({ state }) => state),
    mails: mails.length,
  })
  const done = { claims: ['confirmed', 'confirmed'], outbox: [], mails: 1 }

  test('JOBS=inline: they are done when the response has been sent', async () => {
    const { request, mails } = workerIsolate()
    expect((await request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
    expect(await consequences(mails)).toEqual(done)
  })

  test('JOBS=queue: they run with the messages, which may arrive twice; the dead-letter queue finds nothing to bury', async () => {
    const sent: unknown[] = []
    const queue = {
      sendBatch: async (batch: { body: unknown }[]) =>
        void sent.push(...batch.map(({ body }) => structuredClone(body))),
    }
    const both = queue as unknown as Queue
    const { request, mails, env } = workerIsolate({ JOBS: 'queue', MAIL_QUEUE: both, JOBS_QUEUE: both })
    const input = somebody()
    expect((await request('POST', '/api/v1/accounts', { json: input })).status).toBe(201)
    expect(await consequences(mails)).toEqual({
      claims: ['reserved', 'reserved'],
      outbox: ['sent', 'sent', 'sent'],
      mails: 0,
    })
    expect(JSON.stringify(sent)).not.toContain(input.email)
    for (const name of ['banyan-jobs', 'banyan-jobs', 'banyan-jobs-dead']) {
      const batch = createMessageBatch(
        name,
        sent.map((body, n) => message(String(n), body)),
      )
      const context = createExecutionContext()
      await worker.queue(batch, env, context)
      expect((await getQueueResult(batch, context)).explicitAcks.toSorted()).toEqual(['0', '1', '2'])
    }
    expect(await consequences(mails)).toEqual(done)
    expect((await rowCounts()).dead_letters).toBeUndefined()
    expect(mails[0]!.to).toBe(input.email)
  })

  test('the cron sends rows that an interrupted request left', async () => {
    const sendBatch = vi.fn(async () => {
      throw new Error('the isolate is gone')
    })
    const broken = { sendBatch } as unknown as Queue
    const failing = workerIsolate({ JOBS: 'queue', MAIL_QUEUE: broken, JOBS_QUEUE: broken })
    expect((await failing.request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
    const { cron, mails } = workerIsolate()
    await cron()
    expect((await consequences(mails)).outbox).toEqual(['waiting', 'waiting', 'waiting'])
    const soon = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 31_000)
    await cron()
    soon.mockRestore()
    expect(await consequences(mails)).toEqual(done)
  })
})
