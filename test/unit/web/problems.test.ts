import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { BanyanError, catalogue, type ErrorCode } from '../../../src/core/errors.ts'
import { DatabaseError, notMigrated, RefusedError } from '../../../src/sharding/answers.ts'
import type { WebEnv } from '../../../src/web/context.ts'
import { problemResponse, publicDetail, toBanyanError } from '../../../src/web/problems.ts'

const d1Error = (text: string) => new Error(`D1_ERROR: ${text}`, { cause: new Error(text) })
const missing = notMigrated(d1Error('no such table: stock: SQLITE_ERROR'))
const refused = new RefusedError('OUT_OF_STOCK', d1Error('OUT_OF_STOCK: SQLITE_CONSTRAINT'))
const constraint = new DatabaseError(
  'DATABASE_CONSTRAINT',
  'SQLITE_CONSTRAINT_CHECK',
  d1Error('CHECK: SQLITE_CONSTRAINT'),
)

test('an unknown table: a builder reads its name and how to migrate, others read neither', () => {
  const local = publicDetail(missing, 'http://localhost:8787/settings')
  expect(local).toContain('no such table: stock')
  expect(local).toContain('npm run banyan -- migrations apply')
  expect(publicDetail(missing, 'https://banyan.example/operator/v1/shards')).toBe(local)
  expect(publicDetail(missing, 'https://banyan.example/settings')).toBe(
    'The databases are not migrated. Try again in a few minutes.',
  )
})

test.each([refused, constraint])('%s: no caller sees the database’s text', (error) => {
  const said = 'A database constraint was violated. Try again. If it fails again, report the request id.'
  expect(publicDetail(error, 'http://localhost:8787/settings')).toBe(said)
  expect(publicDetail(error, 'https://banyan.example/settings')).toBe(said)
})

test('the log also says how to migrate', () => {
  const logged: unknown[] = []
  const note = (event: string, fields?: object) => void logged.push([event, fields])
  toBanyanError(missing, { info: note, warn: note, error: note })
  expect(logged).toEqual([
    ['request.failed', expect.objectContaining({ reason: expect.stringMatching(/stock.*migrations apply/) as string })],
  ])
})

const codes = Object.keys(catalogue) as ErrorCode[]

/** The problem in the answer of a route at this address that throws the code without a detail. */
async function problemAt(address: string, code: ErrorCode): Promise<{ code: string; detail: string }> {
  const app = new Hono<WebEnv>().all('*', (c) => problemResponse(c, new BanyanError(code)))
  return (await app.request(address)).json()
}

test.each(codes)(
  '%s: without a detail of its own, operators read the operator’s fix, and the public reads the caller’s',
  async (code) => {
    const [, title, fix, callerFix = fix]: readonly [number, string, string, string?] = catalogue[code]
    expect(await problemAt('https://banyan.example/operator/v1/shards', code)).toMatchObject({
      code,
      detail: `${title}. ${fix}`,
    })
    expect(await problemAt('https://banyan.example/api/v1/posts', code)).toMatchObject({
      code,
      detail: `${title}. ${callerFix}`,
    })
  },
)

test('the message of a bug is shown to operators only', () => {
  const error = new BanyanError('INTERNAL', 'the shard map does not start at slot 0000')
  expect(publicDetail(error, 'https://banyan.example/posts')).not.toContain('slot 0000')
  expect(publicDetail(error, 'https://banyan.example/operator/v1/shards')).toContain('slot 0000')
})
