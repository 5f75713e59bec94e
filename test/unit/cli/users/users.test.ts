import { expect, test } from 'vitest'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { command as listUsers } from '../../../../src/cli/users/list.command.ts'

const asked: string[] = []
const answering = (answer: object) => () =>
  ({
    get: async (path: string) => {
      asked.push(path)
      return answer
    },
  }) as unknown as Connection

const ada = { id: '4a01…', handle: 'ada', displayName: 'Ada', createdAt: '2026-11-30T20:00:00.000Z' }

test('users are listed, with the cursor of the next page', async () => {
  const answer = { items: [ada], next: 'abc', failed: [], missing: null }
  const { text, isFailure } = await listUsers.run(answering(answer), [], { prefix: 'ad&', limit: '1' })
  expect(asked.at(-1)).toBe('/operator/v1/users?prefix=ad%26&limit=1')
  expect(text.split('\n')).toEqual([
    'handle  signed up                 id     name',
    'ada     2026-11-30T20:00:00.000Z  4a01…  Ada',
    '',
    'More users: repeat the command with --cursor abc',
  ])
  expect(isFailure).toBe(false)
})

test('a shard that did not answer is named, and the command fails', async () => {
  const answer = { items: [], next: null, failed: ['shard-001', 'shard-003'], missing: '4000-7fff,c000-ffff' }
  const { text, isFailure } = await listUsers.run(answering(answer), [], { recent: true })
  expect(asked.at(-1)).toBe('/operator/v1/users?order=recent')
  expect(text.split('\n')).toEqual([
    'No users found.',
    '',
    'Some users are missing, because these shards did not answer: shard-001, shard-003. To list them later: repeat the command with --slots 4000-7fff,c000-ffff',
  ])
  expect(isFailure).toBe(true)
})
