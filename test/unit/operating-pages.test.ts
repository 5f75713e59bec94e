import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const firstCells = (page: string): Set<string> =>
  new Set(
    [...read(page).matchAll(/^\|([^|]+)\|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!),
    ),
  )

test('the page of symptoms says what to do about each error that the application causes', () => {
  const codes = [...read('src/core/errors.ts').matchAll(/^ {2}([A-Z0-9_]+): \[5\d\d,/gm)].map((match) => match[1]!)
  expect(codes.length).toBeGreaterThan(15)
  const listed = firstCells('docs/operating/when-something-is-wrong.md')
  expect(codes.filter((code) => !listed.has(code))).toEqual([])
})

test('the page on monitoring explains each log event', () => {
  const events = globSync('{src,workers}/**/*.{ts,tsx}', { cwd: root }).flatMap((file) =>
    [...read(file).matchAll(/\blog\.(?:info|warn|error)\(\s*'([^']+)'/g)].map((match) => match[1]!),
  )
  expect(events.length).toBeGreaterThan(30)
  const listed = firstCells('docs/operating/monitoring.md')
  expect([...new Set(events)].filter((event) => !listed.has(event))).toEqual([])
})
