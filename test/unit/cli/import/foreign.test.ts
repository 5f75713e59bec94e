import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { operator } from '../../../../src/app/imports/import.operator.ts'
import type { ImportRecord } from '../../../../src/app/imports/records.ts'
import { CsvRecords } from '../../../../src/cli/import/csv.ts'
import { importFile } from '../../../../src/cli/import/run.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { type ForeignFile, foreignFiles } from '../../../support/foreign-files.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-foreign-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A server that imports all users, and records them. */
function takingServer(): { connection: Connection; sent: ImportRecord[] } {
  const sent: ImportRecord[] = []
  const notAsked = () => expect.fail('an import only posts')
  const post = async (_path: string, body?: object) => {
    const { users } = body as { users: ImportRecord[] }
    sent.push(...users)
    return { items: users.map(({ externalId }) => ({ externalId, outcome: 'imported', id: 'x', hasPassword: true })) }
  }
  const connection = { url: 'http://localhost', get: notAsked, patch: notAsked, delete: notAsked, post }
  return { connection: connection as unknown as Connection, sent }
}

let count = 0
function fileOf({ name, bytes }: ForeignFile): string {
  const own = path.join(folder, `${++count}`)
  mkdirSync(own)
  writeFileSync(path.join(own, name), bytes)
  return path.join(own, name)
}

const files = foreignFiles()

test('the files come from many programs', () => {
  expect(files.length).toBeGreaterThanOrEqual(15)
  expect(new Set(files.map(({ by }) => by)).size).toBe(files.length)
})

test.each(files)('$by: $name', async (foreign) => {
  const file = fileOf(foreign)
  const { connection, sent } = takingServer()
  const run = importFile(operator, () => connection, file, { ...foreign.options, verify: 'none' })
  if (foreign.fix) {
    const error = await run.then(
      () => expect.fail('it was read'),
      (thrown: unknown) => thrown as UserError,
    )
    expect(error).toBeInstanceOf(UserError)
    expect(error.fix.replaceAll(`${path.dirname(file)}/`, '')).toMatch(foreign.fix)
    expect(sent).toEqual([])
    return
  }
  const { json } = await run
  const refused = existsSync(`${file}.refused.csv`) ? readFileSync(`${file}.refused.csv`, 'utf8') : ''
  const [, ...rows] = new CsvRecords().push(refused)
  expect(rows.map(([externalId, , , code]) => [externalId, code])).toEqual(foreign.refused ?? [])
  expect(sent).toEqual(foreign.records)
  expect(json).toMatchObject({ imported: sent.length, refused: rows.length, read: sent.length + rows.length })
})
