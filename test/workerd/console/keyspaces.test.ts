import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { tables } from '../../../dist/tables.ts'
import { keyspaces } from '../../../src/sharding/sharded-table.ts'
import type { Env } from '../../../workers/env.ts'
import { endOpenMoves, epoch } from '../../support/moving.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const { OPERATOR_TOKEN } = env as unknown as Env

const ask = (method: string, path: string, json?: object, key?: string) =>
  workerIsolate().request(method, `/operator/v1/keyspaces${path}`, {
    token: OPERATOR_TOKEN!,
    ...(json ? { json } : {}),
    ...(key ? { key } : {}),
  })

interface Started {
  moves: { id: string; keyspace: string; source: string; target: string; slots: string; state: string }[]
  held: number
}

beforeAll(async () => void (await epoch()))
afterEach(endOpenMoves)

test('the list has each keyspace with its tables and the shards that have its slots', async () => {
  const list = await ask('GET', '')
  const halves = [
    { id: 'shard-000', slots: 32_768 },
    { id: 'shard-001', slots: 32_768 },
  ]
  expect(list.status, list.text).toBe(200)
  const { items } = list.json<{ items: { name: string }[] }>()
  expect(items.map(({ name }) => name)).toEqual(keyspaces)
  expect(items.slice(0, 2)).toEqual([
    { name: 'users', tables: tables.users, shards: halves, placement: null },
    { name: 'claims', tables: ['claim_inbox', 'claims'], shards: halves, placement: null },
  ])
  expect(tables.users).toContain('outbox')
})

test('a repeated request with its Idempotency-Key gets its first answer, and another body is refused', async () => {
  const place = (target: string) => ask('POST', '/claims/place', { target }, 'a-placement')
  const first = await place('shard-001')
  expect(first.status, first.text).toBe(202)
  expect(first.json<Started>().moves).toMatchObject([
    { keyspace: 'claims', source: 'shard-000', target: 'shard-001', slots: '0000-7fff', state: 'planned' },
  ])
  expect((await place('shard-001')).json()).toEqual(first.json())
  expect((await place('shard-000')).json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
  // Without the key, the planned move counts as done.
  expect((await ask('POST', '/claims/place', { target: 'shard-001' })).json()).toEqual({ moves: [], held: 0 })
  const { items } = (await ask('GET', '')).json<{ items: { name: string; placement: string | null }[] }>()
  const placed = items.flatMap(({ name, placement }) => (placement === null ? [] : [[name, placement]]))
  expect(placed).toEqual([['claims', 'shard-001']])
})

test('an unknown keyspace is 404, and an unknown target is a wrong field; each says how to find the right one', async () => {
  const keyspace = await ask('POST', '/posts/place', { target: 'shard-001' })
  expect([keyspace.status, keyspace.json()]).toMatchObject([
    404,
    { code: 'NOT_FOUND', detail: 'There is no keyspace "posts". See: npm run banyan -- keyspaces list' },
  ])
  const target = await ask('POST', '/claims/place', { target: 'shard-009' })
  expect([target.status, target.json()]).toMatchObject([
    422,
    { code: 'INVALID', errors: [{ pointer: '/target', detail: expect.stringContaining('shards list') }] },
  ])
})
