import { expect } from 'vitest'
import { shardedTables } from '../../scripts/shard-schema.ts'
import { SLOT_COUNT } from '../../src/sharding/shard-map.ts'
import { OPERATOR_TOKEN, outboxesDrained, type Stack } from './stack.ts'

const SIGN_UPS_AT_ONCE = 4

/** Signs up `count` users over HTTP. Resolves to their ids. */
export async function signUpMany(stack: Stack, count: number): Promise<string[]> {
  const ids: string[] = []
  let next = 0
  const worker = async () => {
    while (next < count) {
      const number = next++
      const person = { email: `p${number}@example.com`, handle: `p_${number}`, password: 'seven quiet herons' }
      const answer = await stack.bearer().post('/api/v1/accounts', person)
      expect(answer.status, answer.text).toBe(201)
      ids.push(answer.json<{ user: { id: string } }>().user.id)
    }
  }
  await Promise.all(Array.from({ length: SIGN_UPS_AT_ONCE }, worker))
  return ids
}

interface ShardRow {
  id: string
  binding: string
  state: string
  slots: number
  bytes: number
  users: number
  queriesPerSecond: number
}

/**
 * Expects every row of every sharded table in the database that owns its key's slot by the directory's map, an even
 * map, and the same shards from the operators' API. Resolves to the API's answer. Reads the databases directly.
 */
export async function expectRowsInPlace(stack: Stack, userIds: string[]): Promise<ShardRow[]> {
  await outboxesDrained(stack)
  const bindings = [...stack.databases.keys()]
  const owners = await stack.slotOwners()
  const usersOn = Object.fromEntries(bindings.map((binding) => [binding, [] as string[]]))
  for (const table of await shardedTables()) {
    for (const [binding, database] of stack.databases) {
      const { results } = await database
        .prepare(`SELECT "${table.key[0]}" AS key FROM "${table.name}"`)
        .all<{ key: string }>()
      const strayed = results.filter(
        ({ key }) => owners[table.keyspace]!(Number.parseInt(key.slice(0, 4), 16)) !== binding,
      )
      expect(strayed, `rows of ${table.name} in ${binding}`).toEqual([])
      if (table.name === 'profiles') usersOn[binding]!.push(...results.map(({ key }) => key))
    }
  }
  expect(Object.values(usersOn).flat().toSorted()).toEqual(userIds.toSorted())

  const headers = { authorization: `Bearer ${OPERATOR_TOKEN}` }
  const { items } = (await stack.bearer().get('/operator/v1/shards', { headers })).json<{ items: ShardRow[] }>()
  expect(items.map(({ binding }) => binding)).toEqual(bindings)
  for (const { binding, slots, users, bytes, state } of items) {
    expect(state).toBe('serving')
    expect(Math.abs(slots - SLOT_COUNT / bindings.length)).toBeLessThan(1)
    expect(users).toBe(usersOn[binding]!.length)
    const { meta } = await stack.databases.get(binding)!.prepare('SELECT 1').all()
    expect(bytes).toBe(meta.size_after)
  }
  return items
}

/** For so many users that chance makes a larger difference unlikely. */
export function expectEvenUsers(shards: ShardRow[]): void {
  const users = shards.map((shard) => shard.users)
  const mean = users.reduce((sum, count) => sum + count, 0) / users.length
  expect(Math.max(...users) / mean).toBeLessThanOrEqual(1.25)
}
