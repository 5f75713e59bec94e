import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { DAY_MS } from '../../../src/core/clock.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { consume } from '../../../src/jobs/consumer.ts'
import { discard, type LetterFilter, type LettersTaken, redrive } from '../../../src/jobs/dead-letters.ts'
import { type JobKinds, together } from '../../../src/jobs/kinds.ts'
import { type Job, newJob, outboxStatement } from '../../../src/jobs/outbox.ts'
import { findRecord, trackedStatements } from '../../../src/jobs/records.ts'
import { type Member, member } from '../../support/members.ts'
import { drive, planMove } from '../../support/moving.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { databases } from '../../support/sharding-slots.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

beforeEach(emptyShards)

/** A member in each half of the slots, and so in each shard. */
async function people(world: World): Promise<[Member, Member]> {
  const found: Member[] = []
  for (const isHere of [(slot: string) => slot < '8', (slot: string) => slot >= '8'])
    for (let one: Member | null = null; !one; ) {
      const next = await member(world)
      if (!isHere(slotOf(next.userId))) continue
      one = next
      found.push(one)
    }
  return [found[0]!, found[1]!]
}

/** Jobs that raise the version of a profile, unless they are broken. */
async function setUp() {
  const world = new World()
  const owners = await people(world)
  const state = { broken: new Set<unknown>(), runs: 0 }
  const kinds: JobKinds = {
    raise: {
      queue: 'jobs',
      attemptsMax: 2,
      backoffBaseSeconds: 1,
      async run({ ownerId, body }, { once }) {
        state.runs++
        if (state.broken.has(body.n)) throw new Error('broken')
        await once({ keyspace: 'users', key: ownerId }, (database) => [
          database.prepare('UPDATE profiles SET version = version + 1 WHERE id = ?').bind(ownerId),
        ])
      },
    },
    /** Like the others, for many at once. */
    'raise-many': {
      queue: 'jobs',
      attemptsMax: 2,
      backoffBaseSeconds: 1,
      ...together(async (jobs, { shards }) => {
        state.runs += jobs.length
        const { failed } = await shards.group(
          jobs.map(({ id, ownerId }) => ({ key: ownerId, inboxId: `${slotOf(ownerId)}.${id}` })),
          { keyspace: 'users', operation: 'raise-many' },
          (database, some) => {
            const given = [JSON.stringify(some)]
            const isNew = "NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.id = given.value ->> 'inboxId')"
            return {
              effect: database
                .prepare(
                  `UPDATE profiles SET version = version + (SELECT count(*) FROM json_each(?1) AS given
                     WHERE given.value ->> 'key' = profiles.id AND ${isNew})
                   WHERE id IN (SELECT value ->> 'key' FROM json_each(?1))`,
                )
                .bind(...given),
              once: database
                .prepare(
                  `INSERT INTO inbox (id, done_at) SELECT value ->> 'inboxId', 1 FROM json_each(?1) AS given WHERE ${isNew}`,
                )
                .bind(...given),
            }
          },
        )
        for (const error of failed.values()) throw error
        return new Map()
      }),
    },
    other: { queue: 'jobs', attemptsMax: 1, backoffBaseSeconds: 1, isTracked: true, run: async () => undefined },
  }
  const isolate = () => world.isolate({ kinds, mode: 'queue' })
  const raisedBefore = await versions()
  const raised = async () => (await versions()) - raisedBefore
  return { world, owners, state, isolate, raised }
}

const versions = async () => (await rows('profiles')).reduce((sum, { version }) => sum + Number(version), 0)

const tools = ({ tiers, relay }: TestIsolate, sendMax: number = limits.redriveLettersMax) => {
  const sent: Promise<void>[] = []
  return { ...tiers, sendMax, send: (jobs: Job[]) => void sent.push(relay.send(jobs)), sent }
}

async function redriven(isolate: TestIsolate, filter: LetterFilter, sendMax?: number): Promise<LettersTaken> {
  const given = tools(isolate, sendMax)
  const taken = await redrive(given, filter)
  await Promise.all(given.sent)
  return taken
}

/** Consumes the jobs in one batch, with this number of deliveries. */
async function deliver({ dispatch, tiers }: TestIsolate, jobs: Job[], attempts = 1) {
  const messages = jobs.map((body) => ({ id: body.id, timestamp: new Date(0), attempts, body }))
  const batch = createMessageBatch('banyan-jobs', messages)
  await consume(batch, dispatch, tiers.log)
  const { explicitAcks, retryMessages } = await getQueueResult(batch, createExecutionContext())
  return { acked: explicitAcks, retried: retryMessages.map(({ msgId }) => msgId) }
}

/** Writes dead jobs and their letters without running them, alternately for the owners. */
async function bury(isolate: TestIsolate, owners: Member[], count: number, ageMs: number | null = 0, kind = 'raise') {
  const { ids, clock, shards } = isolate.tiers
  const createdAt = clock.now() - (ageMs ?? 0)
  const jobs = Array.from({ length: count }, (_, n) => ({
    ...newJob(ids, clock, owners[n % owners.length]!.userId, kind, { n }),
    createdAt,
  }))
  const { failed } = await shards.group(
    jobs.map((job) => ({ ...job, key: job.id })),
    { keyspace: 'users', operation: 'given' },
    (database, some) => {
      const json = JSON.stringify(some)
      const given = "value ->> 'id', value ->> 'ownerId', value ->> 'kind', value ->> 'body'"
      return {
        rows: database
          .prepare(
            `INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at, history)
             SELECT ${given}, 'dead', 2, 0, ?, '[{"at":5,"attempt":2,"error":"broken"}]' FROM json_each(?)`,
          )
          .bind(createdAt, json),
        letters: database
          .prepare(
            `INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at, created_at)
             SELECT ${given}, 'broken', 2, ?, ? FROM json_each(?)`,
          )
          .bind(clock.now(), ageMs === null ? null : createdAt, json),
      }
    },
  )
  expect(failed.size).toBe(0)
  return jobs
}

test('one poison job in a batch of ten: nine finish, it is a dead letter after its attempts, and a redrive recovers it', async () => {
  const { owners, state, isolate, raised, world } = await setUp()
  const { ids, clock, shards } = isolate().tiers
  const jobs = Array.from({ length: 10 }, (_, n) => newJob(ids, clock, owners[n % 2]!.userId, 'raise', { n }))
  for (const job of jobs) await outboxStatement(shards.of(job.id), job).run()
  const poison = jobs[4]!
  state.broken.add(4)

  const first = await deliver(isolate(), jobs)
  expect([first.acked.length, first.retried]).toEqual([9, [poison.id]])
  expect([await raised(), (await rows('outbox')).map(({ id }) => id)]).toEqual([9, [poison.id]])
  const second = await deliver(isolate(), [poison], 2)
  expect(second).toEqual({ acked: [poison.id], retried: [] })
  expect(await rows('dead_letters')).toMatchObject([{ id: poison.id, error: 'broken', attempts: 2 }])

  state.broken.clear()
  expect(await redriven(isolate(), { ids: [poison.id] })).toEqual({ count: 1, tooOld: 0, remaining: false, failed: [] })
  const [row] = await rows('outbox')
  expect(row).toMatchObject({ state: 'sent', attempts: 0 })
  expect(JSON.parse(String(row!.history))).toHaveLength(2)
  expect(await rows('dead_letters')).toEqual([])
  // Twice, and once more while the job waits in its queue.
  for (const _ of [1, 2]) expect((await redriven(isolate(), { ids: [poison.id] })).count).toBe(0)
  expect(world.queued).toHaveLength(1)
  await deliver(isolate(), world.queue.sent.splice(0))
  expect([await raised(), await rows('outbox')]).toEqual([10, []])
})

test('more than 1,000 letters over two shards are redriven by their kind, and each job has its effect once', async () => {
  const count = limits.redriveLettersMax + 50
  const { owners, isolate, raised, world, state } = await setUp()
  await bury(isolate(), owners, count, 0, 'raise-many')
  const [other] = await bury(isolate(), owners, 1, 0, 'other')
  const taken = [await redriven(isolate(), { kind: 'raise-many' })]
  expect(await raised()).toBe(0)
  taken.push(await redriven(isolate(), { kind: 'raise-many' }), await redriven(isolate(), { kind: 'raise-many' }))
  expect(taken.map((one) => [one.count, one.remaining])).toEqual([
    [limits.redriveLettersMax, true],
    [50, false],
    [0, false],
  ])
  expect((await rows('dead_letters')).map(({ id }) => id)).toEqual([other!.id])
  const jobs = world.queue.sent.splice(0)
  expect(new Set(jobs.map(({ id }) => id)).size).toBe(count)
  const one = isolate()
  const deliveries = [...jobs, ...jobs.slice(0, 50)].map((job) => ({ job, attempt: 1 }))
  for (let start = 0; start < deliveries.length; start += 100)
    expect(new Set((await one.dispatch.runMany(deliveries.slice(start, start + 100))).map(({ kind }) => kind))).toEqual(
      new Set(['done']),
    )
  expect(await raised()).toBe(count)
  expect(state.runs).toBe(count + 50)
  expect((await rows('outbox')).map(({ id }) => id)).toEqual([other!.id])
})

test('what the answer does not send, the sweeper sends', async () => {
  const { owners, isolate, world } = await setUp()
  await bury(isolate(), owners, 10)
  await runEverywhere(
    "UPDATE outbox SET body = json_object('n', ?) WHERE id = (SELECT max(id) FROM outbox)",
    'x'.repeat(5_000),
  )
  await redriven(isolate(), { kind: 'raise' }, 4)
  expect(world.queued.length).toBeLessThanOrEqual(4)
  await isolate().relay.sweep()
  expect(new Set(world.queued.map(({ id }) => id)).size).toBe(10)
})

describe('a job older than 29 days', () => {
  const days = limits.inboxDays - limits.inboxMarginDays

  test.each([
    ['by its kind', () => ({ kind: 'raise' })],
    ['by its id', (jobs: Job[]) => ({ ids: jobs.map(({ id }) => id) })],
  ])('stays, and is counted: %s', async (_, filterOf) => {
    const { owners, isolate, world } = await setUp()
    const old = await bury(isolate(), owners, 3, days * DAY_MS)
    // An older version did not note when the job of a letter was created.
    const [unnoted] = await bury(isolate(), owners, 1, days * DAY_MS)
    await runEverywhere('UPDATE dead_letters SET created_at = NULL WHERE id = ?', unnoted!.id)
    const young = await bury(isolate(), owners, 2, days * DAY_MS - 60_000)
    const jobs = [...old, unnoted!, ...young]
    expect(await redriven(isolate(), filterOf(jobs))).toEqual({ count: 2, tooOld: 4, remaining: false, failed: [] })
    expect(world.queued.map(({ id }) => id).toSorted()).toEqual(young.map(({ id }) => id).toSorted())
    expect(await rows('dead_letters')).toHaveLength(4)
    expect(await discard(isolate().tiers, filterOf(jobs))).toMatchObject({ count: 4, remaining: false })
    expect([await rows('dead_letters'), (await rows('outbox')).length]).toEqual([[], 2])
  })
})

test('a record waits again after a redrive, and stays dead after a discard', async () => {
  const { owners, isolate } = await setUp()
  const { ids, clock, shards } = isolate().tiers
  const owner = owners[0]
  const database = shards.of(owner.userId, { read: 'exact' })
  const jobs = [1, 2].map((n) => newJob(ids, clock, owner.userId, 'other', { n }))
  for (const job of jobs) {
    await database.batch(trackedStatements(database, job))
    await isolate().dispatch.bury(job, 1, 'broken')
  }
  const states = () => Promise.all(jobs.map(async ({ id }) => (await findRecord(database, id, owner.userId))!))
  expect(await states()).toMatchObject([{ state: 'dead' }, { state: 'dead' }])
  await redriven(isolate(), { ids: [jobs[0]!.id] })
  await discard(isolate().tiers, { kind: 'other' })
  expect(await states()).toMatchObject([{ state: 'waiting', error: null }, { state: 'dead' }])
  expect((await rows('outbox')).map(({ id }) => id)).toEqual([jobs[0]!.id])
})

test('a letter with an id and another kind is left', async () => {
  const { owners, isolate } = await setUp()
  const [job] = await bury(isolate(), owners, 1)
  for (const take of [redriven, (one: TestIsolate, filter: LetterFilter) => discard(one.tiers, filter)])
    expect(await take(isolate(), { ids: [job!.id], kind: 'other' })).toMatchObject({ count: 0, tooOld: 0 })
  expect([await rows('dead_letters'), await rows('outbox')]).toMatchObject([[{ id: job!.id }], [{ state: 'dead' }]])
})

test('a lost answer to a redrive is repeated, and counted once', async () => {
  const { owners, isolate } = await setUp()
  await bury(isolate(), [owners[0]], 3)
  const unlucky = isolate()
  unlucky.loseAnswerOf('dead-letters.redrive')
  expect(await redriven(unlucky, { kind: 'raise' })).toMatchObject({ count: 3, tooOld: 0, failed: [] })
  expect(await rows('dead_letters')).toEqual([])
})

test('letters in a slot under move are redriven once, and move with their rows', async () => {
  const { owners, isolate, raised, world } = await setUp()
  const owner = owners[0]
  const slot = slotOf(owner.userId)
  const jobs = await bury(isolate(), [owner], 12)
  const { id } = await planMove('users', slot, 'shard-001')
  const waiting = [...jobs]
  const met: string[] = []
  const blocked: Promise<LettersTaken>[] = []
  await drive(id, async (point) => {
    const job = waiting.shift()
    if (!job) return
    met.push(point)
    const taking = redriven(isolate(), { ids: [job.id] })
    const state = await databases.SHARD_000.prepare("SELECT state FROM slots WHERE keyspace = 'users' AND slot = ?")
      .bind(slot)
      .first<string>('state')
    // Writes wait until the cutover is over, and the cutover waits for this.
    if (state === 'fenced') blocked.push(taking)
    else expect(await taking).toMatchObject({ count: 1, failed: [] })
  })
  expect(met).toEqual(expect.arrayContaining(['copied', 'fenced']))
  for (const taken of await Promise.all(blocked)) expect(taken).toMatchObject({ count: 1, failed: [] })
  if (waiting.length > 0) await redriven(isolate(), { kind: 'raise' })
  const { results } = await databases.SHARD_001.prepare('SELECT state, attempts FROM outbox WHERE id LIKE ?')
    .bind(`${slot}%`)
    .all()
  expect(results).toEqual(jobs.map(() => ({ state: 'sent', attempts: 0 })))
  const left = await databases.SHARD_001.prepare('SELECT id FROM dead_letters').all()
  expect(left.results).toEqual([])
  const one = isolate()
  for (const job of world.queue.sent.splice(0)) await one.dispatch.run(job, 1)
  const version = await databases.SHARD_001.prepare('SELECT version FROM profiles WHERE id = ?')
    .bind(owner.userId)
    .first<number>('version')
  expect(version).toBe(1 + jobs.length)
  expect(await raised()).toBeGreaterThanOrEqual(jobs.length)
})
