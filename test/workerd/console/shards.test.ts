import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { migrations } from '../../../dist/migrations.ts'
import { listShards } from '../../../src/console/shards.ts'
import { slotOf } from '../../../src/core/ids.ts'
import type { DirectoryClient } from '../../../src/resharding/directory-operations.ts'
import type { Env } from '../../../workers/env.ts'
import { connectionLost, linkedDatabase, quietLog, routedShards } from '../../support/sharding-doubles.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

const { DIRECTORY, OPERATOR_TOKEN } = env as unknown as Env
const token = OPERATOR_TOKEN!

/** Isolates without a map. An older isolate until its lease ends is tested with the map holder. */
const ask = (method: string, path: string, json?: unknown): Promise<WorkerAnswer> =>
  workerIsolate().request(method, `/operator/v1${path}`, { token, ...(json === undefined ? {} : { json }) })

async function setState(id: string, state: string): Promise<void> {
  const answer = await ask('PATCH', `/shards/${id}`, { state })
  expect(answer.status, answer.text).toBe(200)
  expect(answer.json()).toMatchObject({ shard: { id, state, slots: 32_768 } })
  // Deletes the data centre's copy of the map, as ten seconds would.
  const directory = DIRECTORY.idFromName('directory').toString()
  await (caches as unknown as { default: Cache }).default.delete(`https://shard-map.invalid/${directory}/current`)
}

interface Person {
  id: string
  token: string
}

/** A user whose rows are in this shard. */
async function personOf(shard: 'shard-000' | 'shard-001'): Promise<Person> {
  for (;;) {
    const isolate = workerIsolate()
    const answer = await isolate.request('POST', '/api/v1/accounts', { json: somebody() })
    expect(answer.status, answer.text).toBe(201)
    const { user, token } = answer.json<{ user: { id: string }; token: string }>()
    if (slotOf(user.id) < '8000' !== (shard === 'shard-000')) continue
    return { id: user.id, token }
  }
}

const write = ({ token }: Person) => workerIsolate().request('PATCH', '/api/v1/me', { json: { bio: 'Now.' }, token })
const read = ({ token }: Person) => workerIsolate().request('GET', '/api/v1/me', { token })

function refusal(answer: WorkerAnswer): [number, string, string | null] {
  return [answer.status, answer.json<{ code: string }>().code, answer.headers.get('retry-after')]
}

let here: Person
let there: Person
beforeAll(async () => {
  here = await personOf('shard-000')
  there = await personOf('shard-001')
})
afterEach(() => setState('shard-000', 'serving'))

describe('the state of a shard', () => {
  test('read-only: its users can read but not write, and other users can do both', async () => {
    await setState('shard-000', 'read-only')
    const refused = await write(here)
    expect(refusal(refused)).toEqual([503, 'SHARD_READ_ONLY', '5'])
    // A user does not learn the names of shards or commands.
    expect(refused.json().detail).toBe(
      'The database accepts no writes now. Reads still work. Try to write again in a few minutes.',
    )
    expect((await read(here)).status).toBe(200)
    expect((await write(there)).status).toBe(200)
  })

  test('read-only: the cron does not write to it', async () => {
    const { SHARD_000 } = env as unknown as Record<string, D1Database>
    const expired = `${slotOf(here.id)}expired`
    await SHARD_000!.batch([
      SHARD_000!.prepare("INSERT INTO idempotency_keys VALUES (?, '', '', '', 200, '', 1)").bind(expired),
    ])
    const isThere = () => SHARD_000!.prepare('SELECT 1 AS one FROM idempotency_keys WHERE id = ?').bind(expired).first()
    await setState('shard-000', 'read-only')
    await workerIsolate().cron()
    expect(await isThere()).not.toBeNull()
    await setState('shard-000', 'serving')
    await workerIsolate().cron()
    expect(await isThere()).toBeNull()
  })

  test('restoring: its users get 503 with Retry-After, and others are served', async () => {
    await setState('shard-000', 'restoring')
    expect(refusal(await read(here))).toEqual([503, 'SHARD_RESTORING', '30'])
    expect(refusal(await write(here))).toEqual([503, 'SHARD_RESTORING', '30'])
    expect((await read(there)).status).toBe(200)
  })

  test('a read-only shard is neither source nor target of a move', async () => {
    await setState('shard-000', 'read-only')
    expect(refusal(await ask('POST', '/moves', { slots: '9000', target: 'shard-000' }))[1]).toBe('SHARD_NOT_SERVING')
    expect(refusal(await ask('POST', '/shards/shard-000/drain'))[1]).toBe('SHARD_NOT_SERVING')
    const plan = await ask('POST', '/rebalance', { dryRun: true })
    expect([plan.status, plan.json()]).toEqual([200, { moves: [], held: 0 }])
  })
})

describe('with an unavailable database', () => {
  const { SHARD_000, SHARD_001 } = env as unknown as Record<string, D1Database>
  const away = { SHARD_001: linkedDatabase(SHARD_001!, () => Promise.reject(connectionLost())) } as Partial<Env>
  const askIt = (method: string, path: string, json?: unknown) =>
    workerIsolate(away).request(method, `/operator/v1${path}`, { token, ...(json === undefined ? {} : { json }) })
  const unknown = { id: 'shard-001', binding: 'SHARD_001', slots: 32_768, bytes: null, users: null }
  const known = { id: 'shard-000', slots: 32_768, bytes: expect.any(Number), users: expect.any(Number) }

  test('the list has all shards, and no size and users for the unavailable shard', async () => {
    const list = await askIt('GET', '/shards')
    expect(list.status, list.text).toBe(200)
    expect(list.json()).toMatchObject({ items: [known, { ...unknown, state: 'serving' }] })
  })

  test('the state of every shard can be changed, even of the unavailable shard', async () => {
    for (const [id, shard] of [
      ['shard-000', known],
      ['shard-001', unknown],
    ] as const)
      for (const state of ['restoring', 'serving']) {
        const answer = await askIt('PATCH', `/shards/${id}`, { state })
        expect([answer.status, answer.json()]).toMatchObject([200, { shard: { ...shard, state } }])
      }
  })

  test('another shard can join', async () => {
    const answer = await askIt('POST', '/shards', { binding: 'SHARD_000' })
    expect([answer.status, answer.json()]).toMatchObject([201, { shard: known }])
  })

  test('sizes are not balanced, because the unavailable shard must not count as empty', async () => {
    const answer = await askIt('POST', '/rebalance', { by: 'bytes', dryRun: true })
    expect(refusal(answer).slice(0, 2)).toEqual([503, 'SHARD_UNAVAILABLE'])
    expect(answer.text).toContain('shard-001')
  })

  test('a shard that never answers delays the list by 15 s at most', async () => {
    const answered = Promise.withResolvers<void>()
    const prompt = linkedDatabase(SHARD_000!, (send) => send().finally(() => setTimeout(answered.resolve)))
    const silent = linkedDatabase(SHARD_001!, () => new Promise(() => undefined))
    const { shards, clock } = routedShards({ databases: { SHARD_000: prompt, SHARD_001: silent } })
    const directory = { map: async () => ({ map: (await shards.map()).wire }) } as DirectoryClient
    const operators = { directory, clock, log: quietLog, shardLoad: () => ({ queriesPerSecond: 0 }) }
    const listing = listShards({ ...operators, shards, usersTable: 'accounts' })
    await answered.promise
    clock.advance(15_000)
    expect((await listing).items.map(({ users }) => users)).toEqual([expect.any(Number), null])
  })

  test('an application without a table of users has sizes and no counts', async () => {
    const { shards, clock } = routedShards({ databases: { SHARD_000: SHARD_000!, SHARD_001: SHARD_001! } })
    const directory = { map: async () => ({ map: (await shards.map()).wire }) } as DirectoryClient
    const operators = { directory, clock, log: quietLog, shardLoad: () => ({ queriesPerSecond: 0 }) }
    const { items } = await listShards({ ...operators, shards, usersTable: null })
    expect(items.map(({ users, usersEstimated }) => [users, usersEstimated])).toEqual([
      [null, false],
      [null, false],
    ])
    for (const { bytes } of items) expect(bytes).toBeGreaterThan(0)
  })
})

test('balanced shards need no move, dry run or not', async () => {
  expect((await ask('POST', '/rebalance', { dryRun: true })).json()).toEqual({ moves: [], held: 0 })
  const real = await ask('POST', '/rebalance', {})
  expect([real.status, real.json()]).toEqual([202, { moves: [], held: 0 }])
})

test.each([
  ['POST', '/shards', { binding: 'SHARD_007' }, 422, 'INVALID'],
  ['POST', '/shards', { binding: 'shard-002' }, 422, 'INVALID'],
  ['PATCH', '/shards/shard-009', { state: 'serving' }, 404, 'NOT_FOUND'],
  ['PATCH', '/shards/shard-000', { state: 'asleep' }, 422, 'INVALID'],
  ['DELETE', '/shards/shard-009', undefined, 404, 'NOT_FOUND'],
  ['DELETE', '/shards/shard-000', undefined, 409, 'SHARD_NOT_EMPTY'],
  ['POST', '/shards/shard-009/drain', undefined, 404, 'NOT_FOUND'],
  ['POST', '/rebalance', { tolerance: 2 }, 422, 'INVALID'],
  ['POST', '/rebalance', { by: 'users' }, 422, 'INVALID'],
] as const)('%s %s %j: %i %s', async (method, path, json, status, code) => {
  expect(refusal(await ask(method, path, json)).slice(0, 2)).toEqual([status, code])
})

describe('migrations', () => {
  const { SHARD_001 } = env as unknown as Record<string, D1Database>
  const newest = migrations.at(-1)!

  test('each shard has the migrations of this version', async () => {
    expect((await ask('GET', '/migrations')).json()).toEqual({
      newest,
      items: ['shard-000', 'shard-001'].map((shard) => ({ shard, version: newest, pending: [] })),
    })
  })

  test('a shard that lags is named in the list, in /readyz, which still answers 200, and when a move is planned', async () => {
    await SHARD_001!.prepare('DELETE FROM d1_migrations WHERE name = ?').bind(newest).run()
    try {
      const { items } = (await ask('GET', '/migrations')).json<{ items: object[] }>()
      expect(items).toEqual([
        { shard: 'shard-000', version: newest, pending: [] },
        { shard: 'shard-001', version: migrations.at(-2), pending: [newest] },
      ])
      const ready = await workerIsolate().request('GET', '/readyz')
      expect(ready.status).toBe(200)
      const run = 'npm run banyan -- migrations apply (deployed: --remote)'
      expect(ready.text.split('\n')).toContain(`ok   shard-001 — lacks ${newest}; run: ${run}`)
      expect(ready.text).toMatch(/^ok {3}shard-000$/m)
      const move = await ask('POST', '/moves', { slots: '0000', target: 'shard-001' })
      expect(refusal(move).slice(0, 2)).toEqual([409, 'SCHEMA_VERSIONS_DIFFER'])
    } finally {
      await SHARD_001!.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(newest).run()
    }
  })
})
