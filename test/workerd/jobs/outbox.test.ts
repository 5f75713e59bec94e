import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { requestVerification } from '../../../src/app/accounts/accounts.ts'
import { hasCode } from '../../../src/core/errors.ts'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, everything, rows } from '../../support/shard-rows.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

const SWEEP_AFTER_MS = 30_000
const RESEND_AFTER_MS = 900_000

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  const ada = await member(world)
  return { world, ada }
}

/** A change with a job that raises the profile's version, so that a repeated effect is visible. */
const raise: JobKinds = {
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

/** Commits a job of this kind in the owner's outbox. */
async function commit({ tiers }: TestIsolate, { userId }: Member, kind = 'raise'): Promise<Job> {
  const job = newJob(tiers.ids, tiers.clock, userId, kind, {})
  await outboxStatement(tiers.shards.of(userId), job).run()
  return job
}

const version = async () => (await rows('profiles'))[0]!.version
const waiting = async () => (await rows('outbox')).map(({ id, state, due_at }) => ({ id, state, due_at }))

describe('an outbox row and its change', () => {
  test('are one batch: it is one write, and if it fails, neither exists', async () => {
    const { world, ada } = await setUp()
    const before = await everything()
    const isolate = world.isolate()
    isolate.meanwhile('accounts.request-verification', 'before', () =>
      world.isolate().tiers.sessions.end(ada.session, ada.session.id),
    )
    const error = await rejectionOf(requestVerification(isolate.tiers, ada.session, 'http://localhost', null))
    expect(hasCode(error, 'SESSION_ENDED')).toBe(true)
    expect(await everything()).toEqual({ ...before, sessions: [] })
    const written = isolate.calls.filter(({ kind }) => kind === 'write').map(({ operation }) => operation)
    expect(written).toEqual(['accounts.request-verification'])
    expect(isolate.committed).toEqual([])
  })
})

describe('the relay to a queue', () => {
  const queueing = (world: World) => world.isolate({ mode: 'queue', kinds: raise })

  test('marks sent rows; the sweeper sends a row again if its effect is missing after 15 minutes', async () => {
    const { world, ada } = await setUp()
    const isolate = queueing(world)
    const job = await commit(isolate, ada)
    await isolate.relay.send([job])
    const dueAt = world.clock.now() + RESEND_AFTER_MS
    expect(await waiting()).toEqual([{ id: job.id, state: 'sent', due_at: dueAt }])
    world.clock.advance(RESEND_AFTER_MS - 1)
    expect(await isolate.relay.sweep()).toBe(0)
    world.clock.advance(1)
    expect(await isolate.relay.sweep()).toBe(1)
    expect(await isolate.relay.sweep()).toBe(0)
    expect(world.queued.map(({ id }) => id)).toEqual([job.id, job.id])
  })

  test('crashes between commit and sending: the sweeper sends the row, but not before 30 s', async () => {
    const { world, ada } = await setUp()
    const job = await commit(queueing(world), ada)
    world.clock.advance(SWEEP_AFTER_MS - 1)
    expect(await queueing(world).relay.sweep()).toBe(0)
    world.clock.advance(1)
    expect(await queueing(world).relay.sweep()).toBe(1)
    expect(world.queued).toEqual([job])
  })

  test('has a failing queue: nothing is thrown, and the row waits for the sweeper', async () => {
    const { world, ada } = await setUp()
    const isolate = queueing(world)
    const job = await commit(isolate, ada)
    world.isQueueDown = true
    await isolate.relay.send([job])
    expect((await waiting())[0]).toMatchObject({ state: 'waiting' })
    world.isQueueDown = false
    world.clock.advance(SWEEP_AFTER_MS)
    expect(await isolate.relay.sweep()).toBe(1)
    expect(world.queued).toEqual([job])
  })

  test('crashes between sending and marking: the job is sent twice, and has one effect', async () => {
    const { world, ada } = await setUp()
    const crashing = queueing(world)
    const job = await commit(crashing, ada)
    const hold = crashing.holdAt('outbox.mark-sent', 'before')
    void crashing.relay.send([job])
    await hold.reached
    world.clock.advance(SWEEP_AFTER_MS)
    await queueing(world).relay.sweep()
    expect(world.queued).toHaveLength(2)
    for (const sent of world.queued) expect(await queueing(world).dispatch.run(sent, 1)).toEqual({ kind: 'done' })
    expect([await version(), await waiting()]).toEqual([2, []])
  })

  test('is slower than the effect: a finished job is not marked again', async () => {
    const { world, ada } = await setUp()
    const isolate = queueing(world)
    const job = await commit(isolate, ada)
    isolate.meanwhile('outbox.mark-sent', 'before', () => queueing(world).dispatch.run(job, 1))
    await isolate.relay.send([job])
    expect([await version(), await waiting()]).toEqual([2, []])
  })
})

describe('a job that is run twice has one effect', () => {
  const runner = (world: World) => world.isolate({ kinds: raise })
  const repeats: [string, (world: World, job: Job) => Promise<unknown>][] = [
    [
      'one after the other',
      async (world, job) => {
        await runner(world).dispatch.run(job, 1)
        await runner(world).dispatch.run(job, 2)
      },
    ],
    ['at once', (world, job) => Promise.all([1, 2, 3].map(() => runner(world).dispatch.run(job, 1)))],
    [
      'when the answer to its effect is lost',
      async (world, job) => {
        const isolate = runner(world)
        isolate.loseAnswerOf('jobs.raise')
        expect(await isolate.dispatch.run(job, 1)).toEqual({ kind: 'done' })
      },
    ],
    [
      'when it crashes between effect and end',
      async (world, job) => {
        const isolate = runner(world)
        const dead = isolate.dieAt('jobs.finish', 'before')
        void isolate.dispatch.run(job, 1)
        await dead
        world.clock.advance(SWEEP_AFTER_MS)
        expect(await runner(world).relay.sweep()).toBe(1)
      },
    ],
  ]

  test.each(repeats)('%s', async (_name, run) => {
    const { world, ada } = await setUp()
    const job = await commit(runner(world), ada)
    await run(world, job)
    expect([await version(), await waiting()]).toEqual([2, []])
    expect((await rows('inbox')).filter(({ id }) => String(id).endsWith(job.id))).toHaveLength(1)
  })
})

describe('mail', () => {
  test('is sent at least once, with one message id: after a crash it is sent again', async () => {
    const { world, ada } = await setUp()
    const asking = world.isolate()
    await requestVerification(asking.tiers, ada.session, 'http://localhost', null)
    const [job] = asking.committed
    const crashing = world.isolate()
    const dead = crashing.dieAt('jobs.mail.verify-email', 'before') // its inbox row
    void crashing.dispatch.run(job!, 1)
    await dead
    world.clock.advance(SWEEP_AFTER_MS)
    expect(await world.isolate().relay.sweep()).toBe(1)
    await world.isolate().dispatch.run(job!, 2)
    const [, first, again, ...rest] = world.mails
    expect([first!.messageId, again, rest]).toEqual([job!.id, first, []])
  })

  test('with a token that was used in the meantime is not sent', async () => {
    const { world, ada } = await setUp()
    const asking = world.isolate()
    await requestVerification(asking.tiers, ada.session, 'http://localhost', null)
    await asking.tiers.shards.of(ada.userId).prepare('DELETE FROM mail_tokens').run()
    await asking.afterResponse()
    expect([world.mails.length, await waiting()]).toEqual([1, []])
  })
})

describe('a job that fails', () => {
  const failing: JobKinds = {
    raise: { ...raise.raise!, run: () => Promise.reject<void>(new Error('ada@example.com is unreachable')) },
  }

  test('is retried after at most base · 2^attempt seconds, and is dead after its last attempt', async () => {
    const { world, ada } = await setUp()
    const { dispatch, ...isolate } = world.isolate({ kinds: failing })
    const job = await commit(isolate as TestIsolate, ada)
    for (const attempt of [1, 2]) {
      const verdict = await dispatch.run(job, attempt)
      if (verdict.kind !== 'retry') throw new Error(`it is ${verdict.kind}`)
      expect(verdict.delaySeconds).toBeLessThanOrEqual(10 * 2 ** attempt)
      expect(verdict.delaySeconds).toBeGreaterThanOrEqual(0)
    }
    expect((await dispatch.run(job, 3)).kind).toBe('dead')
  })

  test.each(['inline', 'queue'] as const)(
    '%s: is dead after three attempts, is recorded, and is not sent again',
    async (mode) => {
      const { world, ada } = await setUp()
      const isolate = world.isolate({ kinds: failing, mode })
      const job = await commit(isolate, ada)
      if (mode === 'inline')
        for (let minute = 0; minute < 10; minute++) {
          await isolate.relay.sweep()
          world.clock.advance(60_000)
        }
      else {
        // Each time by another message, so the queue counts one delivery.
        for (let times = 0; times < 3; times++) {
          const verdict = await isolate.dispatch.run(job, 1)
          if (verdict.kind === 'dead') await isolate.dispatch.bury(job, 1, verdict.error)
        }
      }
      const letters = await rows('dead_letters')
      expect(letters).toEqual([
        expect.objectContaining({ id: job.id, owner_id: ada.userId, kind: 'raise', attempts: 3 }),
      ])
      expect(letters[0]!.error).not.toContain('ada@example.com')
      expect(JSON.parse(String(letters[0]!.history))).toMatchObject([
        { attempt: 1, at: expect.any(Number), error: expect.stringMatching(/is unreachable$/) },
        { attempt: 2 },
        { attempt: 3 },
      ])
      expect(String(letters[0]!.history)).not.toContain('ada@example.com')
      expect((await waiting()).map(({ state }) => state)).toEqual(['dead'])
      world.clock.advance(30 * 86_400_000)
      expect(await isolate.relay.sweep()).toBe(0)
    },
  )

  test('and then has its effect anyway, by a late message, is not a dead letter', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate({ kinds: raise })
    const job = await commit(isolate, ada)
    await isolate.dispatch.bury(job, 3, 'gave up')
    await isolate.dispatch.run(job, 1)
    expect([await version(), await rows('dead_letters'), await waiting()]).toEqual([2, [], []])
  })

  test('a finished job is not buried by a late message', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate({ kinds: raise })
    const job = await commit(isolate, ada)
    await isolate.dispatch.run(job, 1)
    await isolate.dispatch.bury(job, 10, 'The queue gave up on it.')
    expect([await rows('dead_letters'), await waiting()]).toEqual([[], []])
  })
})
