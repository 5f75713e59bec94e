import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { ensureDevVars } from '../../../scripts/dev-vars.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-dev-vars-'))
const file = path.join(folder, '.dev.vars')
const example = readFileSync(path.resolve(import.meta.dirname, '../../../.dev.vars.example'), 'utf8')

beforeEach(() => {
  rmSync(file, { force: true })
  writeFileSync(path.join(folder, '.dev.vars.example'), example)
})
afterAll(() => rmSync(folder, { recursive: true }))

test('the first run creates the file, with a key of its own and the mails shown', () => {
  const { SIGNING_KEY, ...others } = ensureDevVars(folder)
  expect(SIGNING_KEY).toMatch(/^[\w-]{43}$/)
  expect(others).toMatchObject({ RATE_LIMITS: 'off', MAIL_PREVIEWS: 'on' })
})

test.each([
  ['SIGNING_KEY=abc\n', 'SIGNING_KEY=abc\nMAIL_PREVIEWS=on\n'],
  ['SIGNING_KEY=abc', 'SIGNING_KEY=abc\nMAIL_PREVIEWS=on\n'],
  ['MAIL_PREVIEWS=off\nSIGNING_KEY=abc\n', 'MAIL_PREVIEWS=off\nSIGNING_KEY=abc\n'],
])('a file of an earlier version, %j, becomes %j, and then stays', (text, next) => {
  writeFileSync(file, text)
  const values = ensureDevVars(folder)
  expect(readFileSync(file, 'utf8')).toBe(next)
  expect(values.SIGNING_KEY).toBe('abc')
  expect(ensureDevVars(folder)).toEqual(values)
  expect(readFileSync(file, 'utf8')).toBe(next)
})
