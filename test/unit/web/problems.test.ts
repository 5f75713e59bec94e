import { expect, test } from 'vitest'
import { DatabaseError, notMigrated, RefusedError } from '../../../src/sharding/answers.ts'
import { publicDetail, toBanyanError } from '../../../src/web/problems.ts'

const d1Error = (text: string) => new Error(`D1_ERROR: ${text}`, { cause: new Error(text) })
const missing = notMigrated(d1Error('no such table: stock: SQLITE_ERROR'))
const refused = new RefusedError('OUT_OF_STOCK', d1Error('OUT_OF_STOCK: SQLITE_CONSTRAINT'))
const constraint = new DatabaseError(
  'DATABASE_CONSTRAINT',
  'SQLITE_CONSTRAINT_CHECK',
  d1Error('CHECK: SQLITE_CONSTRAINT'),
)

test('an unknown table: a builder reads its name and how to migrate, others neither', () => {
  const local = publicDetail(missing, 'http://localhost:8787/settings')
  expect(local).toContain('no such table: stock')
  expect(local).toContain('npm run banyan -- migrations apply')
  expect(publicDetail(missing, 'https://banyan.example/operator/v1/shards')).toBe(local)
  expect(publicDetail(missing, 'https://banyan.example/settings')).toBe('The databases are not migrated.')
})

test.each([refused, constraint])('%s: a database’s text reaches no caller', (error) => {
  expect(publicDetail(error, 'http://localhost:8787/settings')).toBe(`${error.title}.`)
  expect(publicDetail(error, 'https://banyan.example/settings')).toBe(`${error.title}.`)
})

test('the log says how to migrate, too', () => {
  const logged: unknown[] = []
  const note = (event: string, fields?: object) => void logged.push([event, fields])
  toBanyanError(missing, { info: note, warn: note, error: note })
  expect(logged).toEqual([
    ['request.failed', expect.objectContaining({ reason: expect.stringMatching(/stock.*migrations apply/) as string })],
  ])
})
