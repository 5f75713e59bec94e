import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { operator } from '../../../../src/app/imports/import.operator.ts'
import { CsvRecords } from '../../../../src/cli/import/csv.ts'
import { importFile } from '../../../../src/cli/import/run.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'

const DAY_MS = 86_400_000
const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-import-resumed-'))

beforeEach(() => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

interface Sent {
  users: { externalId: string }[]
}

/** A server that refuses the second user, and fails after `requestsMax` requests. */
function server(requestsMax: number) {
  const sent: string[] = []
  let requests = 0
  const post = async (url: string, body?: object) => {
    if (++requests > requestsMax) throw new UserError('The server was stopped.', 'Run it again.')
    const users = (body as Sent).users.map(({ externalId }) => externalId)
    if (url.endsWith('/verifications'))
      return { items: users.map((externalId) => ({ externalId, isHere: true, differences: [] })) }
    sent.push(...users)
    const answer = (externalId: string) =>
      externalId === '2' ? { outcome: 'refused', code: 'EMAIL_TAKEN', detail: 'Taken.' } : { outcome: 'imported' }
    return { items: users.map((externalId) => ({ externalId, id: null, hasPassword: true, ...answer(externalId) })) }
  }
  return { connection: { url: 'http://localhost', post } as unknown as Connection, sent }
}

test('an import resumed a day later refuses the same users, so that no user is skipped without a report', async () => {
  const file = path.join(folder, 'users.csv')
  const now = Date.now()
  const rows = Array.from({ length: 1_000 }, (_, index) => {
    // The time of one user is more than a day ahead.
    const createdAt = index === 4 ? now + DAY_MS + 3_600_000 : now - DAY_MS
    return `${index + 1},user${index + 1}@example.com,user_${index + 1},${createdAt}\n`
  })
  writeFileSync(file, `id,email,handle,created_at\n${rows.join('')}`)

  const first = server(4)
  await expect(importFile(operator, () => first.connection, file, {})).rejects.toThrow('The server was stopped.')
  expect(first.sent).toHaveLength(800)
  const later = performance.now() + DAY_MS
  vi.spyOn(performance, 'now').mockReturnValue(later)
  const second = server(100)
  const { json } = await importFile(operator, () => second.connection, file, {})

  const refused = new CsvRecords().push(readFileSync(`${file}.refused.csv`, 'utf8')).slice(1)
  expect(refused.map(([externalId, , , code]) => [externalId, code])).toEqual([
    ['5', 'CREATED_AT_INVALID'],
    ['2', 'EMAIL_TAKEN'],
  ])
  expect(json).toMatchObject({ read: 1_000, imported: 998, refused: 2, asked: 998 })
  expect(new Set([...first.sent, ...second.sent]).size).toBe(999)
})
