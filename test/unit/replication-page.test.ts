import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { locationOptions } from '../../src/cli/platform/resources.ts'
import { limits } from '../../src/core/limits.ts'
import { formatCausalToken, noToken } from '../../src/web/causal-token.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const page = read('docs/replication.md').replace(/\s+/g, ' ')
const code = globSync('{src,workers}/**/*.{ts,tsx}', { cwd: root }).map(read).join('\n')

test.each([
  [`not answered after ${limits.replicaReadMs / 1_000} s goes to the primary`],
  [`took ${limits.replicaWaitedMs} ms or longer`],
  [`lives for ${limits.causalTokenMs / 60_000} minutes`],
  [`from the cache for up to ${limits.cacheAgeMsMax / 60_000} minutes`],
  [`within the usual ${limits.routeBudgetMs / 1_000} s of a request`],
  [`answered ${['no', 'one', 'two', 'three', 'four'][limits.replicaSurveyReads]} reads of the application`],
])('docs/replication.md says: %s', (figure) => {
  expect(page).toContain(figure)
})

test('a token has about as many characters as docs/replication.md says', () => {
  const bookmark = '00000085-0000024c-00004c6d-8e61117bf38d7adb71b934ebbf891683' // as in D1's documentation
  const slots = Array.from({ length: 8 }, (_, index) => `9f3${index}`)
  const characters = (count: number) => {
    const bookmarks = new Map(Array.from({ length: count }, (_, index) => [`shard-00${index}`, bookmark]))
    return formatCausalToken('a key', { ...noToken, epoch: 1_234, slots, bookmarks }, Date.now()).length
  }
  expect(page).toContain('A token with 8 bookmarks has about 1,000 characters; with one, 300.')
  expect(Math.round(characters(8) / 100)).toBe(10)
  expect(Math.round(characters(1) / 100)).toBe(3)
})

test('every read that docs/replication.md names as exact is exact in the code', () => {
  const section = /### Reads that stay at the primary\n([\s\S]*?)\n\n[A-Z]/.exec(read('docs/replication.md'))![1]!
  const named = [...section.matchAll(/`([a-z-]+\.[a-z-]+)`/g)].map(([, operation]) => operation!)
  expect(named.length).toBeGreaterThan(3)
  const exact = [...code.matchAll(/\{([^{}]*read: 'exact'[^{}]*)\}/g)].map(([, options]) => options!)
  for (const operation of named)
    expect(
      exact.filter((options) => options.includes(`'${operation}'`)),
      operation,
    ).toHaveLength(1)
})

test('the events, headers, commands and places that docs/replication.md names exist', () => {
  for (const event of ['replica.waited', 'replica.fell-back']) {
    expect(page).toContain(`\`${event}\``)
    expect(code).toContain(`'${event}'`)
  }
  const verbs = [...page.matchAll(/\breplicas (enable|disable|status)\b/g)].map(([name]) => name)
  expect(new Set(verbs)).toEqual(
    new Set(commands.map(({ name }) => name).filter((name) => name.startsWith('replicas '))),
  )
  const places = /Regions are (.*?); jurisdictions are (.*?)\. /.exec(page)!
  const plain = (text: string) => text.replaceAll('`', '').replace(' and ', ' or ')
  expect(locationOptions.location.help).toContain(plain(places[1]!))
  expect(locationOptions.jurisdiction.help).toContain(plain(places[2]!))
})
