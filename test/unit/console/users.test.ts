import { expect, test } from 'vitest'
import { userList } from '../../../src/app/profiles/user-list.ts'
import { listUsers } from '../../../src/console/users.ts'
import { slotText } from '../../../src/core/ids.ts'
import { manyShards } from '../../support/many-shards.ts'
import { quietLog, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const USERS = 128

test('a page is one statement per shard', async () => {
  const count = 4
  const all = manyShards(count)
  const handles = Array.from({ length: USERS }, (_, index) => `u${String((index * 37) % USERS).padStart(3, '0')}`)
  for (const [index, handle] of handles.entries())
    all.sqlite[Math.floor((index * count) / USERS)]!.prepare(
      'INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, ?, ?, ?, ?, 1)',
    ).run(`${slotText(index * (65_536 / USERS))}user`, handle, handle, '', index)
  const source = new ScriptedSource(() => all.wire(1_000_000))
  const { shards, calls } = routedShards({ databases: all.databases, source })
  const asked = { limit: 50, prefix: '', order: 'handle' as const }
  const page = await listUsers({ shards, userList, log: quietLog }, asked)
  expect(page.items.map(({ handle }) => handle)).toEqual(handles.toSorted().slice(0, 50))
  expect(all.statements()).toBe(count)
  expect(calls).toHaveLength(count)
  const rest = await listUsers({ shards, userList, log: quietLog }, { ...asked, limit: 100, cursor: page.next! })
  expect(rest.items.map(({ handle }) => handle)).toEqual(handles.toSorted().slice(50))
  expect([rest.next, rest.failed, rest.missing]).toEqual([null, [], null])
  expect(all.statements()).toBe(2 * count)
})

test('without a noun that lists users there is no list', async () => {
  const { shards } = routedShards({ databases: {} })
  const asked = { limit: 50, prefix: '', order: 'handle' as const }
  await expect(listUsers({ shards, userList: null, log: quietLog }, asked)).rejects.toMatchObject({ code: 'NOT_FOUND' })
})
