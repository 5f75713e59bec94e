import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { z } from '@hono/zod-openapi'
import { type JobContext, type JobKinds, type JobOutcome, jobType } from '../../../src/jobs/kinds.ts'
import { type Job, jobAt, outboxStatement } from '../../../src/jobs/outbox.ts'
import { cancel, findRecord, trackedStatements, uniqueStatements } from '../../../src/jobs/records.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

beforeEach(emptyShards)

const options = { queue: 'jobs', attemptsMax: 2, backoffBaseSeconds: 10 } as const
const survey = jobType('survey', { parts: z.number() })
const part = jobType('survey.part', { n: z.number() })

interface Given {
  people?: Member[]
  /** Runs a part. */
  onPart?: (n: number, context: JobContext) => Promise<void>
  whenEnded?: (counts: { done: number; dead: number }) => JobOutcome
}

/** A survey splits into parts, each in the slot of another person. */
async function setUp({ onPart = async () => undefined, whenEnded }: Omit<Given, 'people'> = {}) {
  const world = new World()
  const people = [await member(world), await member(world), await member(world)]
  const owner = people[0]!
  let splits = 0
  const kinds: JobKinds = {
    ...survey.handler({
      ...options,
      isTracked: true,
      async run({ body }, { child }) {
        splits++
        return {
          children: Array.from({ length: body.parts }, (_, n) =>
            child(people[n % 3]!.userId, part.name, String(n), { n }),
          ),
        }
      },
      ...(whenEnded && { whenChildrenEnd: async (_job, _context, counts) => whenEnded(counts) }),
    }),
    ...part.handler({
      ...options,
      async run({ id, body }, context) {
        await onPart(body.n, context)
        await context.once({ keyspace: 'users', key: id }, (database) => [
          database.prepare('UPDATE profiles SET version = version + 1 WHERE id = ?').bind(people[body.n % 3]!.userId),
        ])
      },
    }),
  }
  const isolate = (mode: 'queue' | 'inline' = 'queue') => world.isolate({ kinds, mode })
  const database = () => isolate().tiers.shards.of(owner.userId, { read: 'exact' })
  const start = async (parts: number) => {
    const { tiers } = isolate()
    const job = survey.job(tiers, owner.userId, { parts })
    const own = database()
    await own.batch(trackedStatements(own, job))
    return job
  }
  const record = (job: Job) => findRecord(database(), job.id, owner.userId)
  return { world, owner, people, isolate, start, record, database, splits: () => splits }
}

const versions = async () => (await rows('profiles')).reduce((sum, { version }) => sum + Number(version), 0)

/** Runs what the queue has, each message as often as it says, until nothing is new. */
async function drain(world: World, isolate: () => TestIsolate, deliveries = 1) {
  while (world.queued.length > 0)
    for (const job of world.queue.sent.splice(0))
      for (let times = 0; times < deliveries; times++) {
        const one = isolate()
        const verdict = await one.dispatch.run(job, 1)
        if (verdict.kind === 'dead') await one.dispatch.bury(job, 1, verdict.error)
        if (verdict.kind === 'retry') world.queue.sent.push(job)
      }
}

describe('a job that splits', () => {
  test.each(['queue', 'inline'] as const)(
    '%s: ends when its parts have ended, and its owner sees how far it is',
    async (mode) => {
      const { world, isolate, start, record } = await setUp({ whenEnded: (counts) => ({ result: { ...counts } }) })
      const before = await versions()
      const job = await start(6)
      expect(await record(job)).toMatchObject({ state: 'waiting', progress: 0, result: null })
      await isolate(mode).relay.send([job])
      await drain(world, isolate)
      expect(await record(job)).toMatchObject({ state: 'done', progress: 1, result: { done: 6, dead: 0 } })
      expect((await versions()) - before).toBe(6)
      expect([await rows('outbox'), await rows('dead_letters')]).toEqual([[], []])
    },
  )

  test('counts each part once, however often it is delivered', async () => {
    const { world, isolate, start, record, owner, database } = await setUp()
    const job = await start(4)
    await isolate().dispatch.run(job, 1)
    const parts = world.queue.sent.splice(0)
    for (let times = 0; times < 3; times++) await isolate().dispatch.run(parts[0]!, 1)
    expect(await record(job)).toMatchObject({ state: 'running', progress: 0.25 })
    world.queue.sent.push(...parts.slice(1))
    await drain(world, isolate, 2)
    expect(await record(job)).toMatchObject({ state: 'done', progress: 1 })
    expect(await findRecord(database(), job.id, `${owner.userId}x`)).toBeNull()
  })

  test('creates no part twice if it crashes after the parts, and ends after them', async () => {
    const { world, isolate, start, record, splits } = await setUp()
    const before = await versions()
    const job = await start(3)
    const crashing = isolate()
    // Its parts are created, but it does not yet wait for them.
    const dead = new Promise<void>((resolve) => {
      crashing.meanwhile('jobs.split', 'after', async () => void crashing.dieAt('jobs.split', 'before').then(resolve))
    })
    void crashing.dispatch.run(job, 1)
    await dead
    await isolate().dispatch.run(job, 1)
    await drain(world, isolate, 2)
    expect(await record(job)).toMatchObject({ state: 'done' })
    expect([(await versions()) - before, splits()]).toEqual([3, 2])
  })

  test('is dead if a part is; the part redriven, and then the job, both end', async () => {
    let isBroken = true
    const { world, isolate, start, record } = await setUp({
      onPart: async (n) => {
        if (n === 1 && isBroken) throw new Error('broken')
      },
    })
    const before = await versions()
    const job = await start(3)
    await isolate().relay.send([job])
    await drain(world, isolate)
    expect(await record(job)).toMatchObject({ state: 'dead', progress: 1, error: expect.stringContaining('again') })
    expect((await rows('dead_letters')).map(({ kind }) => kind).toSorted()).toEqual(['survey', 'survey.part'])
    isBroken = false
    for (const letter of (await rows('dead_letters')).toSorted((a) => (a.kind === 'survey' ? 1 : -1))) {
      await runEverywhere(
        "UPDATE outbox SET state = 'waiting', attempts = 0, due_at = 0 WHERE id = ?",
        String(letter.id),
      )
      await runEverywhere("UPDATE job_records SET state = 'waiting' WHERE id = ?", String(letter.id))
      world.clock.advance(60_000)
      await isolate().relay.sweep()
      await drain(world, isolate)
    }
    expect(await record(job)).toMatchObject({ state: 'done', error: null })
    expect(await rows('dead_letters')).toEqual([])
    expect((await versions()) - before).toBe(3)
  })

  test('that its owner cancels runs no further part, and cannot be cancelled twice', async () => {
    const { world, isolate, start, record, owner, database } = await setUp()
    const before = await versions()
    const job = await start(5)
    await isolate().dispatch.run(job, 1)
    const [first, ...others] = world.queue.sent.splice(0)
    await isolate().dispatch.run(first!, 1)
    expect(await cancel(database(), job.id, owner.userId)).toBe(true)
    expect(await cancel(database(), job.id, owner.userId)).toBe(false)
    for (const other of others) await isolate().dispatch.run(other, 1)
    expect((await versions()) - before).toBe(1)
    expect(await record(job)).toMatchObject({ state: 'cancelled' })
    expect([await rows('outbox'), await rows('dead_letters')]).toEqual([[], []])
  })
})

describe('progress', () => {
  test('ends a job whose owner has cancelled it, without another attempt', async () => {
    const world = new World()
    const { userId } = await member(world)
    const reached = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const slow = jobType('slow', {})
    const kinds = slow.handler({
      ...options,
      isTracked: true,
      async run(_job, { progress }) {
        await progress(1, 4)
        reached.resolve()
        await goOn.promise
        await progress(2, 4)
        throw new Error('it ran on')
      },
    })
    const isolate = world.isolate({ kinds })
    const database = isolate.tiers.shards.of(userId, { read: 'exact' })
    const job = slow.job(isolate.tiers, userId, {})
    await database.batch(trackedStatements(database, job))
    const running = isolate.dispatch.run(job, 1)
    await reached.promise
    expect(await findRecord(database, job.id, userId)).toMatchObject({ state: 'running', progress: 0.25 })
    await cancel(database, job.id, userId)
    goOn.resolve()
    expect(await running).toEqual({ kind: 'done' })
    expect([await rows('outbox'), await rows('dead_letters')]).toEqual([[], []])
  })
})

describe('a kind that is unique by a key', () => {
  const unique = async (rule: 'while waiting' | { forMs: number }) => {
    const world = new World()
    const { userId } = await member(world)
    const rebuilt = jobType('rebuilt', {})
    const kinds = rebuilt.handler({ ...options, unique: rule, run: async () => undefined })
    const isolate = world.isolate({ kinds })
    const database = isolate.tiers.shards.of(userId)
    const create = async (key: string) => {
      const job = rebuilt.job(isolate.tiers, userId, {})
      await database.batch(uniqueStatements(database, job, key, rule))
      return job
    }
    return { world, isolate, create }
  }
  const waiting = async () => (await rows('outbox')).length

  test('while one waits, has no second job; once it runs, a change makes another', async () => {
    const { isolate, create } = await unique('while waiting')
    const first = await create('a')
    await create('a')
    await create('b')
    expect(await waiting()).toBe(2)
    isolate.meanwhile('jobs.begin', 'after', () => create('a'))
    await isolate.dispatch.run(first, 1)
    expect(await waiting()).toBe(2)
  })

  test('for a period, has no second job until it is over, though the first is done', async () => {
    const { world, isolate, create } = await unique({ forMs: 3_600_000 })
    await isolate.dispatch.run(await create('a'), 1)
    await create('a')
    expect(await waiting()).toBe(0)
    world.clock.advance(3_600_000)
    await create('a')
    expect(await waiting()).toBe(1)
  })
})

describe('an attempt', () => {
  const one = async (run: (job: Job) => Promise<void>, more: { timeLimitMs?: number } = {}) => {
    const world = new World()
    const { userId } = await member(world)
    const isolate = world.isolate({ mode: 'queue', kinds: { one: { ...options, ...more, run } } })
    const job: Job = { ...jobType('one', {}).job(isolate.tiers, userId, {}) }
    await outboxStatement(isolate.tiers.shards.of(userId), job).run()
    return { world, isolate, job }
  }

  test('that takes too long has failed, and the job is retried', async () => {
    const begun = Promise.withResolvers<void>()
    const { world, isolate, job } = await one(
      () => {
        begun.resolve()
        return new Promise(() => undefined)
      },
      { timeLimitMs: 1_000 },
    )
    const running = isolate.dispatch.run(job, 1)
    await begun.promise
    world.clock.advance(1_000)
    expect(await running).toMatchObject({ kind: 'retry' })
    expect((await rows('outbox'))[0]).toMatchObject({ attempts: 1, history: expect.stringContaining('1000 ms') })
  })

  test('does not begin while its kind or its queue is paused; the job waits, and runs once they are resumed', async () => {
    const ran: string[] = []
    const { world, isolate, job } = await one(async ({ id }) => void ran.push(id))
    for (const what of ['kind.one', 'queue.jobs'] as const) {
      await isolate.pauses.pause(what)
      const kinds = { one: { ...options, run: async ({ id }: Job) => void ran.push(id) } }
      const paused = world.isolate({ mode: 'queue', kinds })
      expect(await paused.dispatch.run(job, 1)).toEqual({ kind: 'paused' })
      await paused.dispatch.park([job])
      world.clock.advance(3_600_000)
      expect(await paused.relay.sweep()).toBe(0)
      expect((await rows('outbox')).map(({ state, attempts }) => [state, attempts])).toEqual([['paused', 0]])
      await isolate.pauses.resume(what)
      world.clock.advance(10_000)
      expect(await paused.relay.sweep()).toBe(1)
    }
    expect(ran).toEqual([])
    for (const sent of world.queued) await isolate.dispatch.run(sent, 1)
    expect(new Set(ran)).toEqual(new Set([job.id]))
  })

  test('at a job of the future does not begin before its time, and the job is sent then', async () => {
    const { world, isolate } = await one(async () => undefined)
    const { userId } = await member(world)
    const later = jobAt(jobType('one', {}).job(isolate.tiers, userId, {}), world.clock.now() + 40 * 86_400_000)
    await runEverywhere('DELETE FROM outbox')
    await outboxStatement(isolate.tiers.shards.of(userId), later).run()
    await isolate.relay.send([later])
    world.clock.advance(39 * 86_400_000)
    expect([await isolate.relay.sweep(), world.queued]).toEqual([0, []])
    world.clock.advance(86_400_000 + 60_000)
    expect(await isolate.relay.sweep()).toBe(1)
    expect(await isolate.dispatch.run(world.queued[0]!, 1)).toEqual({ kind: 'done' })
  })
})
