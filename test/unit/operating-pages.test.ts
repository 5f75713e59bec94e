import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { catalogue } from '../../src/core/errors.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

/** The text of the pattern's group in each match. */
const captured = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].flatMap(([, found]) => found ?? [])

/** The code spans in the first column of a page's tables. */
const explainedBy = (page: string): string[] =>
  captured(read(page), /^\|([^|]+)\|/gm).flatMap((cell) => captured(cell, /`([^`]+)`/g))

test('the page of symptoms says what to do about each error that the application causes', () => {
  const codes = Object.entries(catalogue)
    .filter(([, [status]]) => status >= 500)
    .map(([code]) => code)
  expect(codes.length).toBeGreaterThan(15)
  expect(explainedBy('docs/operating/when-something-is-wrong.md')).toEqual(expect.arrayContaining(codes))
})

test('the page of error codes has one row per code, with its status and title', () => {
  const rows = [...read('docs/errors.md').matchAll(/^\| `([A-Z0-9_]+)` \| (\d+) \| ([^|]+) \|/gm)]
  const expected = Object.entries(catalogue).map(([code, [status, title]]) => [code, String(status), title])
  expect(rows.map(([, code]) => code).sort()).toEqual(expected.map(([code]) => code).sort())
  const without = expected.filter(
    ([code, status, title]) => !rows.some((row) => row[1] === code && row[2] === status && row[3]?.startsWith(title!)),
  )
  expect(without).toEqual([])
})

test('the page on monitoring explains each log event', () => {
  const files = globSync('{src,workers}/**/*.{ts,tsx}', { cwd: root })
  const events = files.flatMap((file) => captured(read(file), /\blog\.(?:info|warn|error)\(\s*'([^']+)'/g))
  expect(events.length).toBeGreaterThan(30)
  expect(explainedBy('docs/operating/monitoring.md')).toEqual(expect.arrayContaining(events))
})
