import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readMigrations } from '../../../../src/cli/migrations/shard-migrations.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-migrations-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const write = (name: string, sql: string) => writeFileSync(path.join(folder, name), sql)

test('migrations are read in order and split at breakpoints, each statement from its first word', () => {
  write(
    '0001_b.sql',
    "-- A comment's apostrophe; and a semicolon.\n/* another */\nSELECT 1;\n--> statement-breakpoint\n-- nothing\n",
  )
  write('0000_a.sql', 'SELECT 2;--> statement-breakpoint\nSELECT 3 -- kept\n')
  expect(readMigrations(folder)).toEqual([
    { name: '0000_a.sql', statements: ['SELECT 2;', 'SELECT 3 -- kept'] },
    { name: '0001_b.sql', statements: ['SELECT 1;'] },
  ])
})

test('a checkout with CRLF gives the same statements as one with LF', () => {
  write('0000_a.sql', 'SELECT 1,\n 2;\n--> statement-breakpoint\nSELECT 3;\n')
  const wanted = readMigrations(folder)[0]!.statements
  write('0000_a.sql', 'SELECT 1,\r\n 2;\r\n--> statement-breakpoint\r\nSELECT 3;\r\n')
  expect(readMigrations(folder)).toEqual([{ name: '0000_a.sql', statements: wanted }])
})

test('any other carriage return is refused with the file’s name', () => {
  write('0000_a.sql', "INSERT INTO t VALUES ('a\rb')")
  expect(() => readMigrations(folder)).toThrow(/0000_a\.sql has a carriage return/)
})
