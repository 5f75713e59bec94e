import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CsvRecords } from '../../src/cli/import/csv.ts'
import { banyan } from '../support/banyan.ts'
import { type ForeignFile, foreignFiles, people, recordsOf } from '../support/foreign-files.ts'
import { type Stack, startStack } from '../support/stack.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-import-test-'))
let stack: Stack
beforeAll(async () => {
  stack = await startStack()
})
afterAll(async () => {
  await stack?.close()
  rmSync(folder, { recursive: true })
})

/** Runs the command on a file. All files have one source, so users imported from one file exist for the next. */
async function importForeign({ name, bytes, options = {} }: ForeignFile, number: number) {
  const own = path.join(folder, `${number}`)
  mkdirSync(own)
  const file = path.join(own, name)
  writeFileSync(file, bytes)
  const more = Object.entries(options).flatMap(([option, value]) => [
    `--${option}`,
    ...(value === true ? [] : [String(value)]),
  ])
  const { code, stdout, stderr } = await banyan(stack.url, 'import', file, '--source', 'people', '--json', ...more)
  expect(code, stderr).toBe(0)
  const refused = existsSync(`${file}.refused.csv`) ? readFileSync(`${file}.refused.csv`, 'utf8') : ''
  const [, ...rows] = new CsvRecords().push(refused)
  const refusals = rows.map(([externalId, , , reason]) => [externalId, reason])
  return { result: JSON.parse(stdout) as Record<string, number>, refusals }
}

test('the same users, from files of many programs: imported once, and each file verified in full', async () => {
  const whole = recordsOf()
  const files = foreignFiles().filter(({ records }) => records && isDeepStrictEqual(records.slice(0, 3), whole))
  expect(files.length).toBeGreaterThanOrEqual(15)
  for (const [index, foreign] of files.entries()) {
    const { result, refusals } = await importForeign(foreign, index)
    const others = foreign.records!.length - people.length
    expect([foreign.by, refusals]).toEqual([foreign.by, foreign.refused ?? []])
    expect(result, foreign.by).toMatchObject({
      imported: index === 0 ? people.length : others,
      there: index === 0 ? 0 : people.length,
      verified: foreign.records!.length,
      missing: 0,
      differing: 0,
    })
  }
  const answer = await fetch(new URL('/api/v1/users/zoe', stack.url))
  expect(await answer.json()).toMatchObject({
    user: { handle: 'zoe', displayName: people[2]!.name, bio: people[2]!.bio },
  })
})
