import { afterEach, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { type ProbeResult, probeShards } from '../../../src/sharding/probe.ts'
import { StatementBudget } from '../../../src/sharding/statement-budget.ts'
import { connectionLost, linkedDatabase, ManualClock } from '../../support/sharding-doubles.ts'
import { databases } from '../../support/sharding-slots.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const database = databases.SHARD_000

async function probe(one: D1Database, clock = new ManualClock()): Promise<ProbeResult[]> {
  const wish = { databases: new Map([['SHARD_000', one]]), after: null, isLeftOut: () => false, clock }
  return (await probeShards(wish)).items
}

const failed = (results: ProbeResult[]) =>
  results.filter(({ ok }) => !ok).map(({ case: name, met }) => [name, met] as const)

/** Every row of every table. */
async function content(): Promise<string> {
  const { results } = await database
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name")
    .all<{ name: string }>()
  const tables = await database.batch(results.map(({ name }) => database.prepare(`SELECT * FROM "${name}"`)))
  return JSON.stringify(tables.map(({ results: rows }, index) => [results[index]!.name, rows]))
}

/** Without one of its triggers, as when a statement splitter has cut it. */
let dropped: string | null = null
async function drop(trigger: string): Promise<void> {
  dropped = await database.prepare('SELECT sql FROM sqlite_master WHERE name = ?').bind(trigger).first<string>('sql')
  await database.prepare(`DROP TRIGGER ${trigger}`).run()
}
afterEach(async () => {
  if (dropped) await database.prepare(dropped).run()
  dropped = null
})

/** The same database with reworded errors. */
const worded = (wording: (text: string) => string) =>
  linkedDatabase(database, (send) =>
    send().catch((error: Error) => {
      throw new Error(wording(error.message))
    }),
  )

test('the runtime’s database refuses every batch as the router expects, and does not change', async () => {
  const before = await content()
  const results = await probe(database)
  expect(failed(results)).toEqual([])
  expect(results.map(({ expected }) => expected)).toEqual(
    expect.arrayContaining([
      'SLOT_NOT_OWNED',
      'SLOT_FENCED',
      'STEP_MISMATCH',
      'taken key',
      'constraint',
      'not-migrated',
    ]),
  )
  expect(results.filter(({ text }) => text === '')).toMatchObject([{ case: 'aborted batches' }])
  expect(await content()).toBe(before)
})

test.each([
  ['slot_guard_insert', ['guard, no slot', 'guard, moved slot', 'guard, fenced slot', 'guard, importing slot']],
  ['claim_attempts_fence_insert', ['insert, no slot', 'insert, importing slot', 'row over its bound']],
  ['claim_attempts_fence_update', ['update, fenced slot', 'changed primary key']],
  ['claim_attempts_fence_delete', ['delete, moved slot']],
])('without %s, it fails, and the batch that was not refused is still aborted', async (trigger, names) => {
  await drop(trigger)
  const before = await content()
  const results = await probe(database)
  expect(failed(results).map(([name]) => name)).toEqual(names)
  expect(await content()).toBe(before)
})

test.each([
  ['without the result’s code', (text: string) => text.replace(/: SQLITE_.*/, '')],
  ['with another prefix', (text: string) => text.replace('D1_ERROR: ', 'D1_ERROR: Error: ')],
  ['with an unknown text', () => 'D1_ERROR: A prepared SQL statement must be refused.'],
])('worded %s: each text that the router would misread is reported as it was received', async (_, wording) => {
  const results = await probe(worded(wording))
  const fenced = results.find(({ case: name }) => name === 'guard, fenced slot')!
  expect(fenced).toMatchObject({ binding: 'SHARD_000', expected: 'SLOT_FENCED', ok: false })
  expect(fenced.met).not.toBe('SLOT_FENCED')
  expect(fenced.text).toBe(wording('D1_ERROR: SLOT_FENCED: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)'))
})

test('probing a database takes 65 statements', async () => {
  const budget = new StatementBudget()
  await probe(budget.meter(new Map([['SHARD_000', database]])).get('SHARD_000')!)
  expect(budget.sent).toBe(65)
})

test('a connection that breaks once is not reported as a text', async () => {
  let sent = 0
  const flaky = linkedDatabase(database, (send) => (++sent % 3 === 0 ? Promise.reject(connectionLost()) : send()))
  expect(failed(await probe(flaky))).toEqual([])
})

test('batches that are not atomic are detected by a row that an aborted batch leaves', async () => {
  const leaving = linkedDatabase(database, async (send) => {
    const answer = await send()
    return (answer as D1Result<{ rows?: number }>[]).map((result) => ({
      ...result,
      results: result.results.map((row) => ('rows' in row ? { rows: 1 } : row)),
    }))
  })
  expect(failed(await probe(leaving))).toEqual([['aborted batches', '1 rows left']])
})

test('the probe waits 15 s in total for a database that never answers', async () => {
  const clock = new ManualClock()
  const asked = Promise.withResolvers<void>()
  const silent = linkedDatabase(database, () => {
    asked.resolve()
    return new Promise(() => undefined)
  })
  const probing = probe(silent, clock)
  await asked.promise
  clock.advance(limits.probeShardMs)
  expect(failed(await probing)).toEqual([['guard, no slot', 'no answer']])
})

test('a request probes five databases within its statements, even if each batch is tried three times', async () => {
  const budget = new StatementBudget()
  const lost = linkedDatabase(database, () => Promise.reject(connectionLost()))
  const many = new Map(Array.from({ length: 12 }, (_, index) => [`SHARD_${String(index).padStart(3, '0')}`, lost]))
  const seen: string[] = []
  let after: string | null = null
  do {
    const own = new StatementBudget()
    const page: Awaited<ReturnType<typeof probeShards>> = await probeShards({
      databases: own.meter(many),
      after,
      isLeftOut: (binding) => binding === 'SHARD_003',
      clock: new ManualClock(),
    })
    expect(own.sent).toBeGreaterThan(0)
    expect(own.sent).toBeLessThanOrEqual(budget.left)
    expect(page.leftOut).toEqual(after === null ? ['SHARD_003'] : [])
    seen.push(...new Set(page.items.map(({ binding }) => binding)))
    after = page.next
  } while (after !== null)
  expect(seen).toEqual([...many.keys()].filter((binding) => binding !== 'SHARD_003'))
})

test('operators can request it', async () => {
  const { env, request } = workerIsolate()
  const answer = await request('POST', '/operator/v1/probe', { json: {}, token: env.OPERATOR_TOKEN! })
  const { items, leftOut, next } = answer.json<{ items: ProbeResult[]; leftOut: string[]; next: string | null }>()
  expect([...new Set(items.map(({ binding }) => binding))]).toEqual(['SHARD_000', 'SHARD_001'])
  expect([failed(items), leftOut, next]).toEqual([[], [], null])
  const rest = await request('POST', '/operator/v1/probe', { json: { after: 'SHARD_000' }, token: env.OPERATOR_TOKEN! })
  expect(new Set(rest.json<{ items: ProbeResult[] }>().items.map(({ binding }) => binding))).toEqual(
    new Set(['SHARD_001']),
  )
  expect((await request('POST', '/operator/v1/probe', { json: {} })).status).toBe(401)
})

test('a shard that is being restored is skipped', async () => {
  const { env, request } = workerIsolate()
  const token = env.OPERATOR_TOKEN!
  const setState = (state: string) => request('PATCH', '/operator/v1/shards/shard-001', { json: { state }, token })
  await setState('restoring')
  try {
    const answer = await request('POST', '/operator/v1/probe', { json: {}, token })
    expect(answer.json()).toMatchObject({ leftOut: ['SHARD_001'] })
  } finally {
    await setState('serving')
  }
})
