import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeEach, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { slotOf } from '../../../src/core/ids.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { recordedDatabase } from '../../support/recorded-database.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const PLATFORM_STATEMENTS_MAX = 1_000
const JOBS = 150
const bindings = env as unknown as Env & Record<'SHARD_000' | 'SHARD_001', D1Database>

beforeEach(emptyShards)

/** The Worker on databases that count statements, with more due jobs than one invocation may run. */
async function setUp() {
  let statements = 0
  const count = (database: D1Database) => recordedDatabase(database, () => void statements++)
  const {
    env: own,
    request,
    cron,
  } = workerIsolate({
    JOBS: 'inline',
    SHARD_000: count(bindings.SHARD_000),
    SHARD_001: count(bindings.SHARD_001),
  } as Partial<Env>)
  const answer = await request('POST', '/api/v1/accounts', { json: somebody() })
  const userId = answer.json<{ user: { id: string } }>().user.id
  const shard = slotOf(userId) < '8000' ? bindings.SHARD_000 : bindings.SHARD_001
  const jobs = Array.from({ length: JOBS }, (_, n) => {
    const id = `${slotOf(userId)}01hf7yat00${String(n).padStart(16, '0')}`
    const body = { tokenId: id, origin: 'http://localhost' }
    return { id, ownerId: userId, kind: 'mail.verify-email', body, createdAt: Date.now(), attempts: 0 }
  })
  await shard.batch(
    jobs.map(({ id, ownerId, kind, body, createdAt }) =>
      shard
        .prepare("INSERT INTO outbox VALUES (?, ?, ?, ?, 'waiting', 0, 1, ?, NULL, NULL)")
        .bind(id, ownerId, kind, JSON.stringify(body), createdAt),
    ),
  )
  /** The number of statements that this sends. */
  const counted = async (run: () => Promise<unknown>) => {
    statements = 0
    await run()
    return statements
  }
  return { own, cron, jobs, counted }
}

test('the cron stops before 1,000 statements, and resumes where it stopped', { timeout: 60_000 }, async () => {
  const { cron, counted } = await setUp()
  const waiting = async () => (await rows('outbox')).length
  for (let before = await waiting(); before > 0; ) {
    const statements = await counted(cron)
    expect(statements).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
    const after = await waiting()
    expect(after).toBeLessThan(before)
    before = after
  }
  expect(await rows('dead_letters')).toEqual([])
})

test('a consumer stops before 1,000 statements, and retries the other messages', { timeout: 60_000 }, async () => {
  const { own, jobs, counted } = await setUp()
  const batch = createMessageBatch(
    'banyan-jobs',
    jobs.map((body) => ({ id: body.id, timestamp: new Date(0), attempts: 1, body })),
  )
  const context = createExecutionContext()
  expect(await counted(() => worker.queue(batch, own, context))).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
  const { explicitAcks, retryMessages } = await getQueueResult(batch, context)
  expect(explicitAcks.length).toBeGreaterThan(30)
  expect(explicitAcks.length + retryMessages.length).toBe(JOBS)
  expect(await rows('outbox')).toHaveLength(retryMessages.length)
})
