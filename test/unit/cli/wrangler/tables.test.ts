import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { experimental_readRawConfig } from 'wrangler'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { readTables } from '../../../../src/cli/wrangler/tables.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-toml-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The value that wrangler reads for a key in [vars]. */
function wranglers(text: string): unknown {
  const config = path.join(folder, 'wrangler.toml')
  writeFileSync(config, text)
  return (experimental_readRawConfig({ config }).rawConfig as { vars: Record<string, unknown> }).vars.A
}

const REFUSED = 'refused'

test.each([
  ['"plain"', 'plain'],
  ['"with # sign" # and a comment', 'with # sign'],
  [`'it is \\n'`, 'it is \\n'],
  [`'a "quote"'`, 'a "quote"'],
  ['"a \\"quote\\""', 'a "quote"'],
  ['"b\\u0061nyan\\ttab\\\\n"', 'banyan\ttab\\n'],
  ['"a\ttab"', 'a\ttab'],
  ['["a", \'b\', "c\\"]"] # d', ['a', 'b', 'c"]']],
  ['["a",\n  "b"\n]', ['a', 'b']],
  ['true', true],
  ['30', 30],
  ['"\\U0001f333"', REFUSED],
  ["'''plain'''", REFUSED],
  ['"""plain"""', REFUSED],
  ['"""two\nlines"""', REFUSED],
  ['"a"b', REFUSED],
  ['"a","b"', REFUSED],
  ['"a"\nA = "b"', REFUSED],
  ['"wrong \\x41"', REFUSED],
])('[vars] A = %s is read as wrangler reads it, or refused', (written, value) => {
  const text = `[vars]\nA = ${written}\n`
  if (value === REFUSED) return void expect(() => readTables(text)).toThrow(UserError)
  const own = readTables(text)[1]!.values.get('A')
  expect(own).toEqual(Array.isArray(value) ? value : String(value))
  expect(wranglers(text)).toEqual(value)
})
