import { describe, expect, test } from 'vitest'
import { userList } from '../../../../src/app/profiles/user-list.ts'
import { searchUsers } from '../../../../src/app/search/search.ts'
import { noCache } from '../../../../src/cache/cache.ts'
import { listUsers } from '../../../../src/console/users.ts'
import { slotText } from '../../../../src/core/ids.ts'
import { manyShards } from '../../../support/many-shards.ts'
import { quietLog, routedShards, ScriptedSource } from '../../../support/sharding-doubles.ts'

/** This many users, whose handles and names all start with `a`. */
function worldOf(shardCount: number, users: number) {
  const all = manyShards(shardCount)
  for (let index = 0; index < users; index++)
    all.sqlite[Math.floor((index * shardCount) / users)]!.prepare(
      'INSERT INTO profiles (id, handle, display_name, bio, created_at, version, search_name) VALUES (?, ?, ?, ?, ?, 1, ?)',
    ).run(`${slotText(Math.floor((index * 65_536) / users))}user`, `a${index}_x`, 'n', '', index, `a${users - index} y`)
  const source = new ScriptedSource(() => all.wire(1_000_000))
  const { shards, clock, calls } = routedShards({ databases: all.databases, source })
  return { all, calls, tiers: { shards, clock, log: quietLog, cache: noCache, userCounts: {} } }
}

test.each([1, 4, 64])(
  'with %i shards, a page of a search and of the list is one statement per shard',
  async (count) => {
    const { all, tiers } = worldOf(count, 128)
    const { items, partial } = await searchUsers(tiers, { text: 'a', limit: 20, cursor: undefined })
    expect([items.length > 0, partial, all.statements()]).toEqual([true, false, count])
    const list = await listUsers({ ...tiers, userList }, { limit: 20, prefix: '', order: 'recent' })
    expect([list.items[0]?.handle, list.items.length, all.statements()]).toEqual(['a127_x', 20, 2 * count])
  },
)

describe('one shard of 5,000 users', () => {
  const { all, tiers } = worldOf(1, 5_000)

  test('is read by two index ranges, and no user is looked at more often than the page needs', async () => {
    const sent: string[] = []
    all.onCall((sql) => void sent.push(...sql))
    await searchUsers(tiers, { text: 'a4', limit: 20, cursor: undefined })
    const [sql] = sent
    const plan = all.sqlite[0]!.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
    const steps = plan.map(({ detail }) => String(detail)).filter((detail) => detail.includes('profiles'))
    expect(steps).toEqual([
      'SEARCH profiles USING INDEX profiles_by_handle (handle>? AND handle<?)',
      'SEARCH profiles USING INDEX profiles_by_search_name (search_name>? AND search_name<?)',
    ])
    expect(plan.some(({ detail }) => /\bLIKE\b/.test(String(detail)))).toBe(false)
  })

  test('everybody is found once', async () => {
    const found: string[] = []
    let cursor: string | undefined
    do {
      const page = await searchUsers(tiers, { text: 'a', limit: 100, cursor })
      found.push(...page.items.map(({ handle }) => handle))
      cursor = page.next ?? undefined
    } while (cursor)
    expect(new Set(found).size).toBe(5_000)
    expect(found).toHaveLength(5_000)
  })
})
