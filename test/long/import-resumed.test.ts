import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashPassword } from '../../src/app/accounts/passwords.ts'
import { CsvRecords } from '../../src/cli/import/csv.ts'
import { systemRandom } from '../../src/core/random.ts'
import { banyan } from '../support/banyan.ts'
import { expectImported, importUntil, oldUsers } from '../support/import-checks.ts'
import { writeDump } from '../support/old-application.ts'
import { outboxesDrained, type Stack, startStack } from '../support/stack.ts'

const COUNT = 2_000
const PASSWORD = 'seven quiet herons'
const folder = mkdtempSync(path.join(tmpdir(), 'banyan-import-test-'))
const file = path.join(folder, 'old.sql')

let stack: Stack
beforeAll(async () => {
  stack = await startStack()
})
afterAll(async () => {
  await stack?.close()
  rmSync(folder, { recursive: true })
})

/** Rows of both shards that lie in slots which the shard serves: a moved slot's are at its source, too, until purge. */
async function read(sql: string): Promise<Record<string, string | number | null>[]> {
  const [, table = ''] = /FROM (\w+)/.exec(sql)!
  const [key, keyspace] = table === 'claims' ? ['key', 'claims'] : ['id', 'users']
  const served = `WHERE EXISTS (SELECT 1 FROM slots WHERE keyspace = '${keyspace}' AND slot = substr(${key}, 1, 4) AND state IN ('active', 'moving'))`
  const answers = await Promise.all(
    [...stack.databases.values()].map((database) => database.prepare(`${sql} ${served}`).all()),
  )
  return answers.flatMap(({ results }) => results as Record<string, string | number | null>[])
}

test('2,000 users of a dump: killed, then a quarter of the slots moves while it goes on; refused ones are named', async () => {
  // Two who signed up before: the one has a user's e-mail address, the other another's handle.
  for (const [email, handle] of [
    ['person.5@old.example.com', 'somebody_else'],
    ['somebody@example.com', 'person_1999'],
  ])
    expect((await stack.bearer().post('/api/v1/accounts', { email, handle, password: PASSWORD })).status).toBe(201)
  await outboxesDrained(stack)
  const hash = await hashPassword(PASSWORD, systemRandom)
  const more = [
    `INSERT INTO users VALUES(9000,'keeper@example.com','keeper','Keeper','${hash}',1577836800);`,
    "INSERT INTO users VALUES(9001,'no address','person_9001',NULL,NULL,1577836800);",
    "INSERT INTO users VALUES(9002,'twice@example.com','Keeper',NULL,NULL,1577836800);\n",
  ]
  await writeDump(file, COUNT, more.join('\n'))

  const dry = await banyan(stack.url, 'import', file, '--dry-run')
  expect(dry.stdout, dry.stderr).toContain('Read 2,003: 2,001 can be imported, 2 are refused. Nothing was sent.')
  expect(await read('SELECT id FROM accounts')).toHaveLength(2)
  expect(readFileSync(`${file}.dry-run.refused.csv`, 'utf8')).toContain('9002,twice@example.com,Keeper,HANDLE_TWICE')

  const acknowledged = await importUntil(stack.url, file, 1)
  expect(acknowledged).toBeLessThan(COUNT)
  const started = await banyan(stack.url, 'moves', 'start', '0000-3fff', 'shard-001', '--no-wait')
  expect(started.code, started.stderr).toBe(0)
  const resumed = await banyan(stack.url, 'import', file, '--json')
  expect(resumed.code, resumed.stderr + resumed.stdout).toBe(0)
  expect(resumed.stderr).toContain(`Resuming after ${acknowledged} of 2,003 users.`)
  const { imported, there, ...rest } = JSON.parse(resumed.stdout) as Record<string, number>
  expect(imported! + there!).toBe(1_999)
  expect(rest).toMatchObject({ read: 2_003, refused: 4, asked: 1_999, verified: 1_999, missing: 0, differing: 0 })
  expect(existsSync(`${file}.import-state.json`)).toBe(false)

  const [, ...refused] = new CsvRecords().push(readFileSync(`${file}.refused.csv`, 'utf8'))
  expect(refused.map(([externalId, , , code]) => [externalId, code])).toEqual([
    ['9001', 'EMAIL_INVALID'],
    ['9002', 'HANDLE_TWICE'],
    ['5', 'EMAIL_TAKEN'],
    ['1999', 'HANDLE_TAKEN'],
  ])

  let move = { state: '' }
  while (!['settling', 'done'].includes(move.state)) {
    const list = await banyan(stack.url, 'moves', 'list', '--json')
    move = (JSON.parse(list.stdout) as { items: [{ state: string }] }).items[0]
    expect(['failed', 'aborted']).not.toContain(move.state)
  }
  const users = oldUsers(COUNT, (n) => n === 5 || n === 1999)
  const keeper = {
    id: 9000,
    email: 'keeper@example.com',
    username: 'keeper',
    name: 'Keeper',
    passwordHash: hash,
    createdAt: 1_577_836_800_000,
  }
  await expectImported(read, { users: [...users, keeper], source: 'old', others: 2 })
  expect(await read('SELECT id FROM outbox')).toEqual([])

  const login = await stack.bearer().post('/api/v1/sessions', { login: 'keeper@example.com', password: PASSWORD })
  expect(login.status, login.text).toBe(201)
  const without = await stack.bearer().post('/api/v1/sessions', { login: 'person_1', password: PASSWORD })
  expect([without.status, without.json()]).toMatchObject([401, { code: 'WRONG_CREDENTIALS' }])
}, 120_000)

test('run again, without its place: all are there, nothing changes, and who differs by now is said', async () => {
  const keeper = stack.bearer()
  expect((await keeper.post('/api/v1/sessions', { login: 'keeper', password: PASSWORD })).status).toBe(201)
  expect((await keeper.request('PATCH', '/api/v1/me', { json: { displayName: 'Kim' } })).status).toBe(200)
  const before = [await read('SELECT * FROM profiles'), await read('SELECT * FROM claims')]
  const again = await banyan(stack.url, 'import', file)
  expect(again.code).toBe(1)
  expect(again.stdout, again.stderr).toContain('Read 2,003, imported 0, already imported 1,999, refused 4.')
  expect(again.stdout).toContain('Verified 1,998 of 1,999')
  expect(again.stdout).toContain('9000: displayName')
  expect([await read('SELECT * FROM profiles'), await read('SELECT * FROM claims')]).toEqual(before)
}, 60_000)
