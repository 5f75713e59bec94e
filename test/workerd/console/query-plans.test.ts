import { createExecutionContext, createMessageBatch, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { slotOf } from '../../../src/core/ids.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { UnkindQueue } from '../../support/queue-double.ts'
import { type RecordedStatement, recordedDatabase } from '../../support/recorded-database.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

/**
 * D1 runs one query at a time, so a scan of a full shard blocks its users. Here the Worker answers each request of an
 * operator, readiness, the cron and the queues, and SQLite returns the plan of each statement that was sent.
 */
const bindings = env as unknown as Env & Record<'SHARD_000' | 'SHARD_001', D1Database>
const DAY_MS = 86_400_000

/** What a plan may scan. Everything else is a sharded table, or a part of one. */
const mayBeScanned: [RegExp, string][] = [
  [/^SCAN \S+ VIRTUAL TABLE/, 'json_each of a parameter: as long as the request says'],
  [/^SCAN \S+ CONSTANT ROW|^SCAN CONSTANT ROW|^SCAN \d+ CONSTANT ROWS?/, 'VALUES'],
  [/^SCAN (walked|last|due|\(subquery-\d+\))$/, 'the rows of a subquery, which has a LIMIT'],
  [/^SCAN (waiting|records|letters)$/, 'rows of the list of kinds, each with a LIMIT'],
  [/^SCAN dead_letters USING INDEX dead_letters_by_death$/, 'in the order of the answer, up to its LIMIT'],
  [/^SCAN banyan_slots$/, 'the ranges of slots of a shard'],
  [/^SCAN profiles USING INDEX profiles_by_(handle|creation)$/, 'in the order of the answer, up to its LIMIT'],
  [/^SCAN (d1_migrations|mover|slot_guard|sqlite_master|sqlite_sequence)\b/, 'a handful of rows: no users’ table'],
]

const sent: (RecordedStatement & { by: string })[] = []
let by = ''
const tell = (statement: RecordedStatement) => void sent.push({ ...statement, by })

function isolate(overrides: Partial<Env> = {}) {
  return workerIsolate({
    SHARD_000: recordedDatabase(bindings.SHARD_000, tell),
    SHARD_001: recordedDatabase(bindings.SHARD_001, tell),
    ...overrides,
  } as Partial<Env>)
}

async function operators(method: string, path: string, json?: unknown): Promise<void> {
  const token = bindings.OPERATOR_TOKEN!
  const answer = await isolate().request(method, `/operator/v1${path}`, { token, ...(json ? { json } : {}) })
  expect(answer.status, answer.text).toBeLessThan(300)
}

/** Due rows, expired reservations of taken and of other attempts, expired rows. */
async function leaveWorkForTheCron(userId: string): Promise<void> {
  const slot = slotOf(userId)
  const id = (n: number) => `${slot}01hf7yat00${String(n).padStart(16, '0')}`
  const shard = slot < '8000' ? bindings.SHARD_000 : bindings.SHARD_001
  const insert = (table: string, ...values: unknown[]) =>
    shard.prepare(`INSERT INTO ${table} VALUES (${values.map(() => '?').join(', ')})`).bind(...values)
  const job = (n: number, text: string) =>
    insert('outbox', id(n), userId, 'unheard-of', JSON.stringify({ text }), 'waiting', 0, 1, Date.now(), null, null)
  await shard.batch([
    job(1, ''),
    job(2, 'x'.repeat(140_000)),
    ...['unheard-of', 'dead'].flatMap((kind, n) => [
      insert('outbox', id(10 + n), userId, kind, '{}', 'dead', 1, 1, Date.now(), null, null),
      insert('dead_letters', id(10 + n), userId, kind, '{}', 'broken', 1, 1, Date.now(), null),
    ]),
    insert('claims', `${slot}1`, 'email', userId, 'barred', 'reserved', 1),
    insert('claims', `${slot}2`, 'email', userId, 'taken', 'reserved', 1),
    insert('claim_attempts', `${userId}.taken`, 'taken', 1),
    insert('idempotency_keys', id(3), 'h', userId, '', 201, 'null', 1),
  ])
}

const requests: [string, () => Promise<unknown>][] = [
  ['GET /readyz', async () => expect((await isolate().request('GET', '/readyz')).status).toBe(200)],
  ['GET /shards', () => operators('GET', '/shards')],
  ['PATCH /shards/:id', () => operators('PATCH', '/shards/shard-000', { state: 'serving' })],
  ['POST /shards', () => operators('POST', '/shards', { binding: 'SHARD_000' })],
  ['POST /rebalance by bytes', () => operators('POST', '/rebalance', { by: 'bytes', dryRun: true })],
  ['GET /users', () => operators('GET', '/users?prefix=plan')],
  ['GET /users, all', () => operators('GET', '/users')],
  ['GET /users, newest first', () => operators('GET', '/users?order=recent')],
  ['GET /dead-letters', () => operators('GET', '/dead-letters')],
  ['GET /dead-letters of a kind', () => operators('GET', '/dead-letters?kind=unheard-of&limit=1')],
  ['GET /jobs/kinds', () => operators('GET', '/jobs/kinds')],
  ['PATCH /jobs/kinds', () => operators('PATCH', '/jobs/kinds/cache.purge', { paused: true })],
  ['PATCH /jobs/queues', () => operators('PATCH', '/jobs/queues/media', { paused: false })],
  ['POST /dead-letters/redrive', () => operators('POST', '/dead-letters/redrive', { kind: 'dead' })],
  ['POST /dead-letters/discard', () => operators('POST', '/dead-letters/discard', { kind: 'dead' })],
  ['GET /migrations', () => operators('GET', '/migrations')],
  [
    'POST /imports',
    () => operators('POST', '/imports', { source: 'old', users: [newcomer(1), newcomer(1), newcomer(2)] }),
  ],
  [
    'POST /imports/verifications',
    () => operators('POST', '/imports/verifications', { source: 'old', users: [newcomer(1)] }),
  ],
  [
    'the cron and a queue',
    async () => {
      const queue = new UnkindQueue<{ id: string }>()
      await isolate({ JOBS: 'queue', JOBS_QUEUE: queue.binding as Queue }).cron()
      expect(queue.sent.length).toBeGreaterThan(0)
      for (const name of ['banyan-jobs', 'banyan-jobs-dead']) {
        const batch = createMessageBatch(
          name,
          queue.sent.map((body) => ({ id: body.id, timestamp: new Date(0), attempts: 10, body })),
        )
        const context = createExecutionContext()
        await worker.queue(batch, isolate().env, context)
        await waitOnExecutionContext(context)
      }
    },
  ],
  [
    'the cron, inline',
    async () => {
      const later = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + DAY_MS)
      await isolate({ JOBS: 'inline' }).cron()
      later.mockRestore()
    },
  ],
]

const newcomer = (n: number) => ({ externalId: `e${n}`, email: `plan${n}@example.com`, handle: `plan_${n}` })

beforeAll(async () => {
  const answer = await workerIsolate().request('POST', '/api/v1/accounts', { json: somebody() })
  await leaveWorkForTheCron(answer.json<{ user: { id: string } }>().user.id)
  for (const [name, run] of requests) {
    by = name
    await run()
  }
}, 60_000)

const planOf = async ({ sql, values }: RecordedStatement): Promise<string[]> => {
  const { results } = await bindings.SHARD_000.prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .bind(...values)
    .all<{ detail: string }>()
  return results.map(({ detail }) => detail)
}

const scans = (plan: string[]): string[] =>
  plan.filter((detail) => detail.startsWith('SCAN ') && !mayBeScanned.some(([allowed]) => allowed.test(detail)))

describe('statements of operators, readiness, cron and queues', () => {
  test.each(requests.map(([name]) => name))('%s scans no sharded table', async (name) => {
    const own = new Map(sent.filter((one) => one.by === name).map((one) => [one.sql, one]))
    expect(own.size).toBeGreaterThan(0)
    const found: Record<string, string[]> = {}
    for (const one of own.values()) {
      const scanned = scans(await planOf(one))
      if (scanned.length > 0) found[one.sql] = scanned
    }
    expect(found).toEqual({})
  })

  test('each duty of the cron had work', () => {
    const all = sent.map(({ sql }) => sql).join('\n')
    for (const part of [
      "UPDATE outbox SET state = 'sent'",
      'INSERT INTO dead_letters',
      "UPDATE claims SET state = 'confirmed' FROM",
      'DELETE FROM claims',
      'DELETE FROM idempotency_keys',
      'DELETE FROM mail_tokens',
    ])
      expect(all).toContain(part)
  })

  test.each([
    ['without an index', "SELECT id FROM posts WHERE text = 'x'"],
    ['that reads a whole index', 'SELECT count(*) FROM profiles'],
    ['under another name', 'SELECT p.id FROM profiles AS p WHERE bio = 1'],
  ])('a statement %s is found', async (_, sql) => {
    expect(scans(await planOf({ sql, values: [] }))).toHaveLength(1)
  })
})
