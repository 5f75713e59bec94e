import { afterAll, beforeAll, expect, test } from 'vitest'
import { shardedTables } from '../../scripts/shard-schema.ts'
import { type Ran, banyan as run } from '../support/banyan.ts'
import { expectRowsInPlace, signUpMany } from '../support/shard-placement.ts'
import { OPERATOR_TOKEN, type Stack, startStack } from '../support/stack.ts'

const PEOPLE = 24

let stack: Stack
let people: string[]
beforeAll(async () => {
  stack = await startStack({ shards: 3, vars: { LEASE_MS: '500', GRACE_MS: '1500' } })
  people = await signUpMany(stack, PEOPLE)
})
afterAll(() => stack?.close())

const banyan = (...args: string[]): Promise<Ran> => run(stack.url, ...args)

interface Shard {
  id: string
  state: string
  slots: number
  users: number
}

async function shards(): Promise<Shard[]> {
  const listed = await banyan('shards', 'list', '--json')
  expect(listed.code, listed.stderr).toBe(0)
  return (JSON.parse(listed.stdout) as { items: Shard[] }).items
}

test('a shard is drained, removed, taken in again and given its share', async () => {
  const drained = await banyan('shards', 'drain', 'shard-002', '--until', 'done')
  expect(drained.code, drained.stderr).toBe(0)
  expect(drained.stdout).toContain('shard-002 has deleted its rows.')
  expect((await shards()).map(({ id, state, slots }) => [id, state, slots])).toEqual([
    ['shard-000', 'serving', 32_768],
    ['shard-001', 'serving', 32_768],
    ['shard-002', 'draining', 0],
  ])
  // It has no row left, and so another deployment's could use it.
  for (const { name } of await shardedTables()) {
    const left = await stack.databases.get('SHARD_002')!.prepare(`SELECT count(*) AS n FROM "${name}"`).first('n')
    expect(left, name).toBe(0)
  }
  expect(await banyan('shards', 'remove', 'shard-002')).toMatchObject({ code: 0 })
  expect((await shards()).map(({ id }) => id)).toEqual(['shard-000', 'shard-001'])

  const join = await stack
    .bearer()
    .post('/operator/v1/shards', { binding: 'SHARD_002' }, { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } })
  expect([join.status, join.json()]).toMatchObject([201, { shard: { id: 'shard-002', state: 'serving', slots: 0 } }])
  const dry = await banyan('rebalance', '--dry-run', '--json')
  const plan = JSON.parse(dry.stdout) as {
    moves: { keyspace: string; source: string; target: string; slots: string }[]
  }
  // A third of each keyspace, in as many moves as there are shards that give.
  expect(plan.moves.map(({ keyspace, source, target }) => `${keyspace}: ${source} → ${target}`).toSorted()).toEqual([
    'claims: shard-000 → shard-002',
    'claims: shard-001 → shard-002',
    'users: shard-000 → shard-002',
    'users: shard-001 → shard-002',
  ])
  const real = await banyan('rebalance', '--until', 'done')
  expect(real.code, real.stderr).toBe(0)
  for (const { slots } of plan.moves.slice(0, 2)) expect(real.stdout).toContain(`slots ${slots} of users`)
  const after = await shards()
  expect(after.map(({ slots }) => slots).toSorted()).toEqual([21_845, 21_845, 21_846])
  expect(after.reduce((sum, { users }) => sum + users, 0)).toBe(PEOPLE)
  await expectRowsInPlace(stack, people)
  expect((await banyan('rebalance')).stdout).toBe('The shards are balanced: nothing to move.\n')
})
