import { expect, test } from 'vitest'
import { command as list } from '../../../../src/cli/keyspaces/list.command.ts'
import { command as place } from '../../../../src/cli/keyspaces/place.command.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'

/** An operators' API that gives this answer. `asked` has the requests. */
function api(answer: unknown) {
  const asked: unknown[] = []
  const send = async (...request: unknown[]) => {
    asked.push(request)
    return answer
  }
  return { connect: () => ({ get: send, post: send }) as unknown as Connection, asked }
}

const nothing = { moves: [], held: 0 }

test.each(['SHARD_002', 'shard-002'])('place names the shard %s by its id', async (on) => {
  const { connect, asked } = api(nothing)
  const { text, json } = await place.run(connect, ['claims'], { on })
  expect(asked).toEqual([['/operator/v1/keyspaces/claims/place', { target: 'shard-002' }]])
  expect(text).toBe('Nothing to move: all slots of claims are on shard-002, or on their way to it.')
  expect(json).toEqual(nothing)
})

test('place says how many slots are in open moves, and what to do', async () => {
  const { text } = await place.run(api({ ...nothing, held: 256 }).connect, ['claims'], { on: 'SHARD_002' })
  expect(text).toMatch(
    /^Nothing can move now: all other slots .*\n256 slots more should move, but are in open moves\. Run the command again/,
  )
})

test('place without a shard shows the whole command', async () => {
  const { connect, asked } = api(nothing)
  await expect(place.run(connect, ['claims'], {})).rejects.toMatchObject({
    message: 'keyspaces place needs a shard.',
    fix: 'Pass --on, for example: npm run banyan -- keyspaces place claims --on SHARD_002',
  })
  expect(asked).toEqual([])
})

test('list shows the tables, the shards and the placement of each table group, and where to look if it has no slots', async () => {
  const items = [
    { name: 'users', tables: ['posts', 'profiles'], shards: [{ id: 'shard-000', slots: 65_536 }], placement: null },
    { name: 'claims', tables: ['claims'], shards: [{ id: 'shard-002', slots: 65_536 }], placement: 'shard-002' },
    { name: 'archives', tables: [], shards: [], placement: null },
  ]
  const { text, json } = await list.run(api({ items }).connect, [], {})
  expect(json).toEqual({ items })
  expect(text.split('\n\n')).toEqual([
    'users: posts, profiles\nshard       slots\nshard-000  65,536',
    'claims, placed on shard-002: claims\nshard       slots\nshard-002  65,536',
    expect.stringMatching(/^archives: no tables\nIts slots are not assigned yet\..*keyspace\.unassigned/),
  ])
})
