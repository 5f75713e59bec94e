import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { consume } from '../../../src/jobs/consumer.ts'
import { type JobKinds, together } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import '../../support/light-passwords.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'

beforeEach(emptyShards)

/** Jobs whose kind runs the messages of one batch together. `run` decides what happens to a group. */
async function setUp(run: (jobs: Job[]) => Promise<Map<Job, unknown>>) {
  const groups: Job[][] = []
  const options = { queue: 'jobs', attemptsMax: 3, backoffBaseSeconds: 10 } as const
  const kinds: JobKinds = {
    many: {
      ...options,
      ...together(async (jobs) => {
        groups.push(jobs)
        return run(jobs)
      }),
    },
    one: { ...options, run: async () => undefined },
  }
  const world = new World()
  const people: Member[] = [await member(world), await member(world)]
  const isolate = world.isolate({ kinds })
  const commit = async (count: number, kind = 'many'): Promise<Job[]> => {
    const jobs: Job[] = []
    for (let n = 0; n < count; n++) {
      const { ids, clock, shards } = isolate.tiers
      const job = newJob(ids, clock, people[n % 2]!.userId, kind, { n })
      await outboxStatement(shards.of(job.id), job).run()
      jobs.push(job)
    }
    return jobs
  }
  /** Consumes the jobs in one batch. Resolves to the outcome of each message. */
  const take = async (jobs: Job[], { attempts = 1, left }: { attempts?: number; left?: () => number } = {}) => {
    const outcomes: string[] = []
    await runEverywhere('UPDATE outbox SET attempts = ?', attempts - 1)
    const messages = jobs.map((body, index) => ({
      id: String(index),
      attempts,
      body,
      ack: () => void outcomes.splice(index, 1, 'ack'),
      retry: () => void outcomes.splice(index, 1, 'retry'),
    }))
    outcomes.push(...messages.map(() => 'nothing'))
    const budget = left && {
      get left() {
        return left()
      },
    }
    await consume({ messages } as unknown as MessageBatch, isolate.dispatch, isolate.tiers.log, budget)
    return outcomes
  }
  return { world, isolate, groups, commit, take }
}

const none = async () => new Map<Job, unknown>()

describe('jobs of one batch whose kind runs them together', () => {
  test('run in one group, next to others that run alone, and lose their outbox rows in one batch per shard', async () => {
    const { groups, commit, take, isolate } = await setUp(none)
    const jobs = [...(await commit(5)), ...(await commit(2, 'one'))]
    isolate.calls.splice(0)
    expect(await take(jobs)).toEqual(Array(7).fill('ack'))
    expect(groups.map((group) => group.map(({ body }) => body.n))).toEqual([[0, 1, 2, 3, 4]])
    expect(await rows('outbox')).toEqual([])
    const finished = isolate.calls.filter(({ operation }) => operation === 'jobs.finish')
    expect(finished.length).toBeLessThanOrEqual(2 + 2)
  })

  test('have verdicts of their own: a failed one is retried, and the others are done', async () => {
    const { commit, take, world } = await setUp(async (jobs) => new Map([[jobs[1]!, new Error('away')]]))
    const jobs = await commit(3)
    expect(await take(jobs)).toEqual(['ack', 'retry', 'ack'])
    expect(await rows('outbox')).toMatchObject([{ id: jobs[1]!.id }])
    expect(world.logged.filter((line) => line.includes('job.failed'))).toHaveLength(1)
  })

  test('become dead letters one by one, after their last attempt', async () => {
    const { commit, take } = await setUp(async (jobs) => new Map([[jobs[0]!, new Error('away')]]))
    expect(await take(await commit(2), { attempts: 3 })).toEqual(['ack', 'ack'])
    expect(await rows('dead_letters')).toMatchObject([{ kind: 'many', error: 'away', attempts: 3 }])
  })

  test('are all retried if their handler throws, and nothing is thrown', async () => {
    const { commit, take } = await setUp(() => Promise.reject(new Error('all of it')))
    expect(await take(await commit(3))).toEqual(['retry', 'retry', 'retry'])
    expect(await rows('outbox')).toHaveLength(3)
  })

  test('are retried if the end of their outbox rows is not known', async () => {
    const { commit, take, isolate } = await setUp(none)
    const jobs = await commit(3)
    isolate.failAt('jobs.finish', new Error('D1_ERROR: out of order: SQLITE_ERROR'))
    isolate.failAt('jobs.finish', new Error('D1_ERROR: out of order: SQLITE_ERROR'))
    const outcomes = await take(jobs)
    expect(outcomes).toContain('retry')
    expect(await rows('outbox')).toHaveLength(outcomes.filter((outcome) => outcome === 'retry').length)
  })

  test('of which one is too old still run, without it', async () => {
    const { groups, commit, take, world } = await setUp(none)
    const [old] = await commit(1)
    world.clock.advance(30 * 86_400_000)
    expect(await take([old!, ...(await commit(2))])).toEqual(['ack', 'ack', 'ack'])
    expect(groups.map((group) => group.length)).toEqual([2])
    expect(await rows('dead_letters')).toMatchObject([{ id: old!.id }])
  })

  test('run as far as the budget allows, and the other messages are retried', async () => {
    let left = 3 * limits.jobTogetherStatements + 1
    const { groups, commit, take, world } = await setUp(async (jobs) => {
      left -= jobs.length * limits.jobTogetherStatements
      return none()
    })
    expect(await take(await commit(5), { left: () => left })).toEqual(['ack', 'ack', 'ack', 'retry', 'retry'])
    expect(groups.map((group) => group.length)).toEqual([3])
    expect(world.logged.filter((line) => line.includes('job.put-off'))).toHaveLength(2)
  })

  test('run one by one inline', async () => {
    const { groups, commit, isolate } = await setUp(none)
    await isolate.relay.send(await commit(3))
    expect(groups.map((group) => group.length)).toEqual([1, 1, 1])
    expect(await rows('outbox')).toEqual([])
  })
})
