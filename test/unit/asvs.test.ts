import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { limits } from '../../src/core/limits.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const page = read('docs/security/asvs.md')

/** OWASP ASVS 5.0.0, chapter V7: all requirements of levels 1 and 2, by section. 7.5.3 has level 3. */
const requirements = Object.entries({ '7.1': 3, '7.2': 4, '7.3': 2, '7.4': 5, '7.5': 2, '7.6': 2 }).flatMap(
  ([section, count]) => Array.from({ length: count }, (_, index) => `${section}.${index + 1}`),
)

const rows = [...page.matchAll(/^\| (7\.\d\.\d) .*\|(.*)\|(.*)\|$/gm)].map(([, id, how = '', proof = '']) => ({
  id: id!,
  hasException: `${how}${proof}`.includes('Exception: '),
  tests: [...proof.matchAll(/`([^`]+)` “([^”]+)”/g)].map(([, file, title]) => ({ file: file!, title: title! })),
}))

test('each requirement of levels 1 and 2 has one row', () => {
  expect(rows.map(({ id }) => id)).toEqual(requirements)
})

test.each(rows)('$id names a test or a reasoned exception', ({ tests, hasException }) => {
  expect(tests.length > 0 || hasException).toBe(true)
})

const named = rows.flatMap(({ id, tests }) => tests.map((one) => ({ id, ...one })))

test.each(named)('$id: the test exists: $file, $title', ({ file, title }) => {
  expect(existsSync(path.join(root, file))).toBe(true)
  const text = read(file)
  expect(["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`))).toBe(true)
})

test('the limits on the page are the code’s', () => {
  expect(page).toContain(`ends ${limits.sessionIdleDays} days after its last use`)
  expect(page).toContain(`recorded every ${limits.sessionLastSeenMs / 60_000} minutes`)
  expect(page).toContain(`ends ${limits.sessionAbsoluteDays} days after its log-in`)
  expect(page).toContain(`at most ${limits.sessionsPerUserMax} sessions`)
  expect(page).toContain(`Reads end within ${limits.sessionStampMs / 1_000} s`)
})
