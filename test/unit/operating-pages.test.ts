import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

/** The text of the pattern's group in each match. */
const captured = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].flatMap(([, found]) => found ?? [])

/** The code spans in the first column of a page's tables. */
const explainedBy = (page: string): string[] =>
  captured(read(page), /^\|([^|]+)\|/gm).flatMap((cell) => captured(cell, /`([^`]+)`/g))

test('the page of symptoms says what to do about each error that the application causes', () => {
  const codes = captured(read('src/core/errors.ts'), /^ {2}([A-Z0-9_]+): \[5\d\d,/gm)
  expect(codes.length).toBeGreaterThan(15)
  expect(explainedBy('docs/operating/when-something-is-wrong.md')).toEqual(expect.arrayContaining(codes))
})

test('the page on monitoring explains each log event', () => {
  const files = globSync('{src,workers}/**/*.{ts,tsx}', { cwd: root })
  const events = files.flatMap((file) => captured(read(file), /\blog\.(?:info|warn|error)\(\s*'([^']+)'/g))
  expect(events.length).toBeGreaterThan(30)
  expect(explainedBy('docs/operating/monitoring.md')).toEqual(expect.arrayContaining(events))
})
