import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/entry.ts'
import { limits } from '../../src/core/limits.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

/** The kinds of keys in a text: `post.1` of `post.1:<id>`. */
const kindsIn = (text: string): string[] =>
  [...new Set([...text.matchAll(/`([a-z-]+\.\d+):/g)].map(([, kind]) => kind!))].toSorted()

test('docs/caching.md has a row for each kind of cached value', () => {
  const code = globSync('src/app/**/*.ts', { cwd: root }).map(read).join('\n')
  const rows = read('docs/caching.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .join('\n')
  expect(kindsIn(code)).not.toEqual([])
  expect(kindsIn(rows)).toEqual(expect.arrayContaining(kindsIn(code)))
})

const policy = { ttlMs: 1, staleWhileRevalidateMs: 1, graceMs: 1, negativeTtlMs: 1, version: () => 1 }

test.each([
  ['shows a value too long after its load', { ttlMs: limits.cacheAgeMsMax }, /Shorten ttlMs or graceMs/],
  ['shows a missing thing too long', { negativeTtlMs: limits.cacheAgeMsMax + 1 }, /Shorten ttlMs or graceMs/],
  ['has no grace for a stale value', { staleWhileRevalidateMs: 2 }, /graceMs is shorter/],
])('a policy that %s is refused', (_what, change, message) => {
  expect(() => cachePolicy({ ...policy, ...change })).toThrow(message)
})

test('clients read their own slots past the cache for longer than any value is shown', () => {
  expect(limits.causalTokenMs).toBeGreaterThan(limits.cacheAgeMsMax + limits.cacheClockSkewMs)
})
