import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { getPlatformProxy } from 'wrangler'
import { readDevVars } from '../../../src/cli/dev-vars.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-vars-'))
afterAll(() => rmSync(folder, { recursive: true }))
const write = (text: string) => writeFileSync(path.join(folder, '.dev.vars'), text)

test.each([
  ['OPERATOR_TOKEN=abc', 'abc'],
  ['OPERATOR_TOKEN=abc\r\nNEXT=1\r\n', 'abc'],
  ['  OPERATOR_TOKEN = abc  ', 'abc'],
  ['export OPERATOR_TOKEN=abc', 'abc'],
  ['OPERATOR_TOKEN="abc"', 'abc'],
  ["OPERATOR_TOKEN='abc' # the operators' own", 'abc'],
  ['OPERATOR_TOKEN=`a"b\'c`', 'a"b\'c'],
  ['OPERATOR_TOKEN=abc # the local one', 'abc'],
  ['OPERATOR_TOKEN="a # b" # c', 'a # b'],
  ['#OPERATOR_TOKEN=old\nOPERATOR_TOKEN=abc', 'abc'],
  ['OPERATOR_TOKEN=old\nOPERATOR_TOKEN=abc', 'abc'],
  ['OPERATOR_TOKEN="two\nlines"', 'two\nlines'],
  ['OPERATOR_TOKEN=a=b==', 'a=b=='],
  ['OPERATOR_TOKEN: abc', 'abc'],
  ['\ufeffOPERATOR_TOKEN=abc', 'abc'],
  ['OPERATOR_TOKEN=', ''],
  ['OTHER_OPERATOR_TOKEN=abc', undefined],
])('%j has the token %j', (text, token) => {
  write(text)
  expect(readDevVars(folder).OPERATOR_TOKEN).toBe(token)
})

test('a local Worker gets the same values', async () => {
  write(
    [
      'A=plain',
      'B="quoted # value" # comment',
      "C='it is \\n'",
      'D="one\\ntwo"',
      'E="one\ntwo"',
      'F=`a"b`',
      'export G = h # i',
      'H: colon',
      'I="a\\"b"',
      'J="x" and more # z',
      "K='it''s'",
      'L=a#b',
      'M=$A',
      'N=',
      'o.p-q=r',
    ].join('\n'),
  )
  const configPath = path.join(folder, 'wrangler.toml')
  writeFileSync(configPath, 'name = "vars"\ncompatibility_date = "2026-01-01"\n')
  const worker = await getPlatformProxy({ configPath, persist: false })
  try {
    const values = readDevVars(folder)
    expect(Object.keys(values)).toHaveLength(15)
    expect(values).toEqual({ ...worker.env })
  } finally {
    await worker.dispose()
  }
}, 60_000)
