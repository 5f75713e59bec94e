import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import {
  type GeneratedUser,
  generatedUsers,
  shardKeys,
  spreadOf,
  spreadRow,
} from '../../../scripts/journey/shard-keys.ts'
import { root } from '../../../src/cli/shell/root.ts'

const PAGE = 'docs/building/choosing-a-shard-key.md'

const user = (country: number, rows: number): GeneratedUser => ({ id: '', month: 0, country, letter: 0, rows })
const country = { name: 'country', values: 16, keyOf: (one: GeneratedUser) => one.country }

test('a shard has two of sixteen values; the fullest shard is compared with the mean of eight', () => {
  // 9 and 3 rows in the first shard, 4 in the second: the mean is 2.
  const { rows, bound, newest } = spreadOf(country, [user(0, 9), user(1, 3), user(2, 4)])
  expect(rows).toBe(12 / 2)
  expect(bound).toBe(9 / 2)
  // Sign-ups are counted once each: two in the first shard, one in the second, 3/8 on average.
  expect(newest).toBe(2 / (3 / 8))
})

test('values that are all small could be placed evenly', () => {
  expect(
    spreadOf(
      country,
      Array.from({ length: 16 }, (_, index) => user(index, 1)),
    ),
  ).toMatchObject({ rows: 1, bound: 1 })
})

test('equal seeds give equal users, whose values are in range', () => {
  expect(generatedUsers(100, 1)).toEqual(generatedUsers(100, 1))
  const users = generatedUsers(2_000, 2)
  expect(users).not.toEqual(generatedUsers(2_000, 3))
  for (const { values, keyOf } of shardKeys)
    for (const one of users) expect([keyOf(one) >= 0, keyOf(one) < values]).toEqual([true, true])
})

test(`${PAGE} has the figures of the journey`, () => {
  const rows = readFileSync(path.join(root, PAGE), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  const users = generatedUsers()
  for (const key of shardKeys) {
    const [name, ...figures] = spreadRow(spreadOf(key, users))
    expect(rows.find(([, first]) => first === name)?.slice(2, -1)).toEqual(figures)
  }
})
