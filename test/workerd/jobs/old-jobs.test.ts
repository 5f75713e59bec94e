import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { beforeEach, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { consume } from '../../../src/jobs/consumer.ts'
import { expire, platformExpiries } from '../../../src/jobs/housekeeping.ts'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import { member } from '../../support/members.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

const DAY_MS = 86_400_000

beforeEach(emptyShards)

/** A job whose repeated effect would be visible. */
const kinds: JobKinds = {
  raise: {
    queue: 'jobs',
    attemptsMax: 3,
    backoffBaseSeconds: 10,
    async run(job, { once }) {
      await once({ keyspace: 'users', key: job.ownerId }, (database) => [
        database.prepare('UPDATE profiles SET version = version + 1 WHERE id = ?').bind(job.ownerId),
      ])
    },
  },
}

const message = (isolate: TestIsolate, job: Job, attempts = 1) =>
  consumed(isolate, [{ id: 'a', timestamp: new Date(0), attempts, body: job }])

async function consumed({ dispatch, tiers }: TestIsolate, messages: Parameters<typeof createMessageBatch>[1]) {
  const batch = createMessageBatch('banyan-jobs', messages)
  await consume(batch, dispatch, tiers.log)
  return (await getQueueResult(batch, createExecutionContext())).explicitAcks
}

/** Ways in which a job arrives long after its creation. */
const ways: [string, (world: World, job: Job) => Promise<unknown>][] = [
  ['by a delayed message', (world, job) => message(world.isolate({ kinds }), job)],
  ['by its last message', (world, job) => message(world.isolate({ kinds }), job, 3)],
  ['inline, by the sweeper', (world) => world.isolate({ kinds, mode: 'inline' }).relay.sweep()],
  [
    'by the sweeper and the queue',
    async (world) => {
      const isolate = world.isolate({ kinds, mode: 'queue' })
      await isolate.relay.sweep()
      for (const job of world.queued) await message(isolate, job)
    },
  ],
  [
    'by a redrive of its dead letter',
    async (world, job) => {
      const isolate = world.isolate({ kinds, mode: 'inline' })
      await runEverywhere(
        "INSERT INTO dead_letters SELECT id, owner_id, kind, body, 'away', 3, created_at, created_at, NULL FROM outbox WHERE id = ?",
        job.id,
      )
      await runEverywhere("UPDATE outbox SET state = 'waiting', due_at = 0 WHERE id = ?", job.id)
      await isolate.relay.sweep()
    },
  ],
]

/** Commits a job whose effect happened on the first day but whose end was lost. Then this many days pass. */
async function effectAndDays(days: number) {
  const world = new World()
  const ada = await member(world)
  const isolate = world.isolate({ kinds })
  const job = newJob(isolate.tiers.ids, isolate.tiers.clock, ada.userId, 'raise', {})
  await outboxStatement(isolate.tiers.shards.of(ada.userId), job).run()
  const dead = isolate.dieAt('jobs.finish', 'before')
  void isolate.dispatch.run(job, 1)
  await dead
  world.clock.advance(days * DAY_MS)
  const { tiers } = world.isolate()
  await expire(tiers.shards, platformExpiries, tiers.clock, tiers.log)
  return { world, job }
}

const version = async () => (await rows('profiles'))[0]!.version
const inboxRows = async (job: Job) => (await rows('inbox')).filter(({ id }) => String(id).endsWith(job.id)).length

test.each(ways)('day 31, %s: the effect is not repeated, and the dead letter says why', async (_name, arrive) => {
  const { world, job } = await effectAndDays(31)
  expect([await version(), await inboxRows(job)]).toEqual([2, 0])
  await arrive(world, job)
  expect(await version()).toBe(2)
  const [letter, ...more] = await rows('dead_letters')
  expect([letter!.id, more]).toEqual([job.id, []])
  expect(letter!.error).toMatch(
    /^The job is too old to run\. It was created on 20\d\d-.*, and a job may run for 29 days\./,
  )
  expect((await rows('outbox')).map(({ state }) => state)).toEqual(['dead'])
})

test.each(ways)('day 28, %s: the effect is not repeated, and the job is done', async (_name, arrive) => {
  const { world, job } = await effectAndDays(28)
  expect(await inboxRows(job)).toBe(1)
  await arrive(world, job)
  expect([await version(), await rows('outbox'), await rows('dead_letters')]).toEqual([2, [], []])
})

test('a job without an effect has it on day 28, once, and none on day 31', async () => {
  const world = new World()
  const ada = await member(world)
  const { tiers } = world.isolate()
  const commit = async () => {
    const job = newJob(tiers.ids, tiers.clock, ada.userId, 'raise', {})
    await outboxStatement(tiers.shards.of(ada.userId), job).run()
    return job
  }
  const late = await commit()
  world.clock.advance(3 * DAY_MS)
  const inTime = await commit()
  world.clock.advance(28 * DAY_MS)
  for (const job of [inTime, late, inTime]) await message(world.isolate({ kinds }), job)
  expect(await version()).toBe(2)
  expect((await rows('dead_letters')).map(({ id }) => id)).toEqual([late.id])
})

test('the inbox row outlives the job by a day: it stays until day 30, and a job runs until day 29', async () => {
  const { world, job } = await effectAndDays(29)
  expect(await inboxRows(job)).toBe(1)
  expect((await world.isolate({ kinds }).dispatch.run(job, 1)).kind).toBe('dead')
})

test.each([
  ['no time of creation', { createdAt: undefined }],
  ['a text as time of creation', { createdAt: '2026-11-30' }],
  ['no owner', { ownerId: undefined }],
  ['no body', { body: undefined }],
])('a message with %s is acknowledged and not run', async (_, lack) => {
  const { world, job } = await effectAndDays(31)
  expect(await message(world.isolate({ kinds }), { ...job, ...lack } as unknown as Job)).toEqual(['a'])
  expect([await version(), await rows('dead_letters')]).toEqual([2, []])
  expect(world.logged.filter((line) => line.includes('job.unreadable'))).toHaveLength(1)
})
