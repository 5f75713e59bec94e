import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/accounts/restore.operator.ts'
import { restoreTo } from '../../../../src/cli/platform/time-travel.ts'
import { abandon, compare, restore } from '../../../../src/cli/restore/restore.ts'
import { NotNow, UserError } from '../../../../src/cli/shell/errors.ts'
import { root } from '../../../../src/cli/shell/root.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
import { faults } from '../../../support/platform/http.ts'
import { type SmallDeployment, smallDeployment } from '../../../support/platform/small-deployment.ts'

/** Stands for the operators' API of the deployed application. */
interface MapDouble {
  state: string
  epoch: number
  changes: string[]
  moves: { id: string; state: string; source: string; target: string }[]
  /** Called when the shard is put into service. */
  onServing: () => Promise<void>
  /** What becomes of a change to a state: it is refused, it never arrives, or it is made and its answer is lost, once. */
  failing: { to: string; how: 'refused' | 'away' | 'lost' } | null
}

let platform: PlatformDouble
let deployment: SmallDeployment
let map: MapDouble
const noteFile = path.join(tmpdir(), `banyan-restore-test-${process.pid}.json`)
const listFile = noteFile.replace('.json', '.claims.jsonl')
const accountsFile = noteFile.replace('.json', '.accounts.jsonl')
const beforeFile = noteFile.replace('.json', '.accounts-before.jsonl')

beforeEach(async () => {
  platform = await startPlatform({ serving: 'stand-in' })
  deployment = smallDeployment(platform)
  await deployment.deploy()
  map = { state: 'serving', epoch: 1, changes: [], moves: [], failing: null, onServing: async () => undefined }
  await write("INSERT INTO shard_identity (id, deployment, shard) VALUES (1, 'd', 'shard-000')")
  await write(
    "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0000', 'active', 1), ('users', '0001', 'active', 1)",
  )
})

afterEach(async () => {
  rmSync(noteFile, { force: true })
  for (const file of [listFile, accountsFile, beforeFile]) rmSync(file, { force: true })
  deployment.close()
  await platform.close()
})

const shard = () => platform.databases.databases.find(({ name }) => name === 'banyan-shard-000')!
const write = (sql: string) => shard().query([{ sql }])
const read = async (sql: string) => (await shard().engine.batch([{ sql }]))[0]!.results

/** A moment between what was written before and what is written after. */
async function moment(): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 5))
  const now = new Date().toISOString()
  await new Promise((resolve) => setTimeout(resolve, 5))
  return now
}

const take = (to: string, shardId = 'shard-000') =>
  restore(deployment.deployment(), { ...about(), shard: shardId, to, now: Date.now() })
const lookAgain = () => compare(deployment.deployment(), about())
const giveUp = () => abandon(deployment.deployment(), about())
const about = () => ({
  shard: 'shard-000',
  noteFile,
  nouns: [operator],
  connection: {
    get: async (asked: string) =>
      (asked.startsWith('/operator/v1/moves')
        ? { items: map.moves, next: null }
        : {
            epoch: map.epoch,
            items: [{ id: 'shard-000', binding: 'SHARD_000', state: map.state, slots: 2 }],
          }) as never,
    patch: async (_: string, body: object) => {
      const { state } = body as { state: string }
      const how = map.failing?.to === state ? map.failing.how : null
      if (how === 'refused' || how === 'lost') map.failing = null
      if (how === 'away') throw new NotNow('answered 503', 'Try again.')
      if (how === 'refused') throw new UserError('answered 409 SHARD_IN_MOVE', 'Try again in 5 s.')
      if (state === 'serving') await map.onServing()
      map.state = state
      map.changes.push(map.state)
      if (how === 'lost') throw new NotNow('does not answer', 'It may have been done all the same.')
      return {} as never
    },
  },
})

/** A row that is no more than a row: time travel takes it back, and nothing else deletes it. */
const MARK = "INSERT INTO claim_attempts (id, outcome, created_at) VALUES ('0000a', 'taken', 1)"

test('what was written since is gone, it served nobody meanwhile, and the mover’s step has not fallen', async () => {
  const to = await moment()
  await write(MARK)
  await write('UPDATE mover SET step = 7')
  await take(to)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
  expect(map.changes).toEqual(['restoring', 'serving'])
  expect(await read('SELECT step, open FROM mover')).toEqual([{ step: 8, open: 0 }])
  expect(existsSync(noteFile)).toBe(false)
})

test('its lease is waited for before anything is taken back', async () => {
  const to = await moment()
  const pauses: number[] = []
  const opened = deployment.deployment
  deployment.deployment = () => ({
    ...opened(),
    sleep: async (ms) => {
      pauses.push(ms)
      if (pauses.length === 1) await write(MARK) // a router with the map before
    },
  })
  await take(to)
  expect(pauses[0]).toBe(41_000)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
})

test.each([
  ['slots that left since', "DELETE FROM slots WHERE slot = '0001'"],
  ['slots that came since', "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0002', 'active', 2)"],
  ['slots that left and came back', "UPDATE slots SET epoch = 3 WHERE slot = '0001'"],
])('%s: refused, and all is as it was', async (_, sql) => {
  const to = await moment()
  await write(sql)
  await write(MARK)
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow('it had other slots: a move has touched it since')
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(await read('SELECT id FROM claim_attempts')).toHaveLength(1)
  expect(map.changes).toEqual(['restoring', 'serving'])
})

test('refused by a move, and run again after that move: what the move has taken away does not come back', async () => {
  const to = await moment()
  map.failing = { to: 'restoring', how: 'refused' }
  await expect(take(to)).rejects.toThrow('SHARD_IN_MOVE')
  await write("DELETE FROM slots WHERE slot = '0001'")
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow('it had other slots: a move has touched it since')
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(map.state).toBe('serving')
})

test('cut off while the lease is waited for, back in service by hand, moved: the same', async () => {
  const to = await moment()
  const opened = deployment.deployment
  deployment.deployment = () => ({ ...opened(), sleep: () => Promise.reject(new Error('killed')) })
  await expect(take(to)).rejects.toThrow('killed')
  deployment.deployment = opened
  map.state = 'serving'
  await write("UPDATE slots SET epoch = 3 WHERE slot = '0001'")
  await expect(take(to)).rejects.toThrow('it had other slots: a move has touched it since')
})

test('to before its first migration: refused, and all is as it was', async () => {
  shard().history[0]!.at = Date.now()
  const first = new Date(Date.now() - 3_600_000).toISOString()
  await expect(take(first)).rejects.toThrow('it was not migrated yet')
  expect(await read('SELECT shard FROM shard_identity')).toEqual([{ shard: 'shard-000' }])
  expect(map.state).toBe('serving')
})

test('cut off while it is as it was before its first migration: the next run brings it back', async () => {
  shard().history[0]!.at = Date.now()
  const first = new Date(Date.now() - 3_600_000).toISOString()
  platform.goAwayAt(11) // after the time travel
  await expect(take(first)).rejects.toThrow('did not answer')
  platform.recover()
  await expect(take(first)).rejects.toThrow('it was not migrated yet')
  expect(await read('SELECT shard FROM shard_identity')).toEqual([{ shard: 'shard-000' }])
  expect(map.state).toBe('serving')
})

test('a migration that came since is applied again', async () => {
  const third = shard().history.findIndex(({ statements }) => statements.at(-1)?.params?.[0] === '0002_moves.sql')
  const [migration] = shard().history.splice(third, 1)
  const to = await moment()
  shard().history.push({ ...migration!, at: Date.now() })
  await take(to)
  expect(await read('SELECT name FROM d1_migrations')).toContainEqual({ name: '0002_moves.sql' })
})

test.each(['planned', 'copying', 'settling', 'purging'])(
  'a move that is %s there is refused before anything is changed',
  async (state) => {
    const to = await moment()
    map.moves.push({ id: 'm1', state, source: 'shard-001', target: 'shard-000' })
    await expect(take(to)).rejects.toThrow(`Move m1 (${state}) is at shard-000`)
    expect(map.changes).toEqual([])
  },
)

test.each([
  ['no time', 'yesterday', 'is no time'],
  ['a time to come', '2999-01-01T00:00:00Z', "hasn't been yet"],
  ['a time too long ago', '2020-01-01T00:00:00Z', 'more than 30 days ago'],
])('%s is refused', async (_, to, message) => {
  await expect(take(to)).rejects.toThrow(message)
  expect(map.changes).toEqual([])
})

test('an unknown shard, and one that somebody else has taken out, are refused', async () => {
  const to = await moment()
  await expect(take(to, 'shard-009')).rejects.toThrow('The map has no shard "shard-009"')
  map.state = 'restoring'
  await expect(take(to)).rejects.toThrow('shard-000 is restoring')
})

/** How many calls of the platform a restore makes until the shard serves. */
async function callsUntilServing(to: string): Promise<number> {
  const before = platform.calls.length
  let calls = 0
  map.onServing = async () => {
    calls = platform.calls.length - before
  }
  await take(to)
  map.onServing = async () => undefined
  return calls
}

test('cut off at any call, the next run ends it; once it has travelled, another time is refused meanwhile', async () => {
  await write('UPDATE mover SET step = 7')
  const calls = await callsUntilServing(await moment())
  for (let number = 1; number <= calls; number++) {
    const to = await moment()
    await write(MARK)
    const { step } = (await read('SELECT step FROM mover'))[0] as { step: number }
    platform.goAwayAt(number)
    await expect(take(to), `call ${number}`).rejects.toThrow('did not answer')
    platform.recover()
    const stage = existsSync(noteFile) ? (JSON.parse(readFileSync(noteFile, 'utf8')) as { stage: string }).stage : null
    if (stage !== null && stage !== 'taken-out')
      await expect(take(await moment())).rejects.toThrow('was cut off and is not over')
    const { json } = await take(to)
    expect(await read('SELECT id FROM claim_attempts'), `call ${number}`).toEqual([])
    expect(((await read('SELECT step FROM mover'))[0] as { step: number }).step).toBeGreaterThan(step)
    expect(map.state).toBe('serving')
    // The way back is from before the first time travel, whichever run it was.
    await restoreTo(deployment.deployment().platform, shard().id, (json as { wayBack: string }).wayBack)
    expect(await read('SELECT id FROM claim_attempts'), `call ${number}`).toHaveLength(1)
    await write('DELETE FROM claim_attempts')
  }
})

/** A run that is killed once `stage` is on disk: nothing more of it is carried out. */
async function killedAt(stage: 'taken-out' | 'travelling' | 'reconciled', to: string): Promise<void> {
  const calls = { 'taken-out': 4, travelling: 11, reconciled: 0 }[stage]
  if (calls > 0) platform.goAwayAt(calls)
  else map.failing = { to: 'serving', how: 'away' }
  await expect(take(to)).rejects.toThrow(/did not answer|answered 503/)
  platform.recover()
  map.failing = null
  expect(JSON.parse(readFileSync(noteFile, 'utf8'))).toMatchObject({ stage })
  expect(map.state).toBe('restoring')
}

const marks = () => read('SELECT id FROM claim_attempts ORDER BY id')
const LATER_MARK = MARK.replace('0000a', '0000z')

describe('on a shard that serves already', () => {
  test('the answer to the last change was lost: run again, what was acknowledged since stays', async () => {
    const to = await moment()
    await write(MARK)
    map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    expect(map.state).toBe('serving')
    await write(LATER_MARK)
    const { text } = await take(to)
    expect(text).toContain(`shard-000 serves again, as it was at ${to}`)
    expect(await marks()).toEqual([{ id: '0000z' }])
    expect(existsSync(noteFile)).toBe(false)
  })

  test('somebody has put it back in the middle: refused, and given up it stays as it is', async () => {
    await write('UPDATE mover SET step = 7')
    const to = await moment()
    await write(MARK)
    await killedAt('travelling', to)
    map.state = 'serving'
    await write(LATER_MARK)
    const before = await marks()
    await expect(take(to)).rejects.toThrow('shard-000 is serving, though a restore of it')
    await giveUp()
    expect(await marks()).toEqual(before)
    const [mover] = await read('SELECT step FROM mover')
    expect(mover!.step).toBeGreaterThan(7)
    expect(existsSync(noteFile)).toBe(false)
  })

  test('somebody has put it back as it was before a move: not given up without a look', async () => {
    const to = await moment()
    await write("DELETE FROM slots WHERE slot = '0001'")
    await killedAt('travelling', to)
    map.state = 'serving'
    await expect(giveUp()).rejects.toThrow('its slots are not those it had when the restore began')
    map.state = 'restoring'
    await giveUp()
    expect(await read("SELECT slot FROM slots WHERE keyspace = 'users'")).toEqual([{ slot: '0000' }])
    expect(map.state).toBe('serving')
  })
})

describe('given up', () => {
  test.each(['taken-out', 'travelling', 'reconciled'] as const)(
    'at %s: the shard is as it was before, and serves',
    async (stage) => {
      const to = await moment()
      await write(MARK)
      await killedAt(stage, to)
      const { text } = await giveUp()
      expect(text).toBe('shard-000 serves again, as it was before the restore.')
      expect([map.state, await marks(), existsSync(noteFile)]).toEqual(['serving', [{ id: '0000a' }], false])
      await take(to)
      expect(await marks()).toEqual([])
    },
  )

  test('after it was over: what was written since stays, and the way back is said', async () => {
    const to = await moment()
    map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    await write(MARK)
    expect((await giveUp()).text).toContain('--bookmark=')
    expect(await marks()).toHaveLength(1)
  })

  test('cut off itself, it is run again, or another time is taken', async () => {
    const to = await moment()
    await write(MARK)
    const right = await moment()
    await killedAt('travelling', to)
    map.failing = { to: 'serving', how: 'away' }
    await expect(giveUp()).rejects.toThrow('answered 503')
    map.failing = null
    await take(right)
    expect(await marks()).toHaveLength(1)
  })

  test('where none was begun: refused', async () => {
    await expect(giveUp()).rejects.toThrow('No restore of shard-000 is under way here')
  })
})

test('a wrong time is put right while nothing was taken back', async () => {
  const wrong = await moment()
  await write(MARK)
  const right = await moment()
  await killedAt('taken-out', wrong)
  await take(right)
  expect(await marks()).toHaveLength(1)
})

test('who ends it early is told in what state the shard is, how to go on and how to give up', async () => {
  const to = await moment()
  await killedAt('travelling', to)
  expect(deployment.said.at(-1)).toBe(
    [
      `shard-000 is out of service (its users get 503), and may be as it was at ${to} already.`,
      `To go on: npm run banyan -- restore shard-000 --to ${to}`,
      'To give it up: npm run banyan -- restore shard-000 --abandon',
    ].join('\n'),
  )
})

test('Ctrl-C while the lease is waited for: the same is said, and it is given up by the command that it names', async () => {
  const name = `banyan-interrupted-${process.pid}`
  const config = readFileSync(deployment.configPath, 'utf8')
  writeFileSync(deployment.configPath, config.replace('name = "banyan"', `name = "${name}"`))
  const { connection } = about()
  const api = createServer(async (request, response) => {
    const body = request.method === 'PATCH' ? JSON.parse(await text(request)) : null
    const answer = body ? await connection.patch('', body) : await connection.get(request.url!)
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  })
  await once(api.listen(0, '127.0.0.1'), 'listening')
  const { port } = api.address() as AddressInfo
  const started = (...options: string[]) => {
    const url = ['--url', `http://127.0.0.1:${port}`, '--token', 'token', '--config', deployment.configPath]
    const args = ['src/cli/main.ts', 'restore', 'shard-000', ...options, ...url]
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...platform.environment } })
    return { child, closed: once(child, 'close'), said: text(child.stderr), answered: text(child.stdout) }
  }
  try {
    const to = await moment()
    const first = started('--to', to)
    while (map.state !== 'restoring') await new Promise((resolve) => setTimeout(resolve, 20))
    first.child.kill('SIGINT')
    expect(await first.closed).toEqual([130, null])
    expect(await first.said).toContain('shard-000 was taken out of service (its users get 503), or was about to be.')
    expect(await first.said).toContain('To give it up: npm run banyan -- restore shard-000 --abandon')

    const second = started('--abandon')
    expect(await second.answered).toBe('shard-000 serves again, as it was before the restore.\n')
    expect(map.state).toBe('serving')
  } finally {
    api.close()
    rmSync(path.join(root, `.wrangler/deploy/${name}-shard-000.restore.json`), { force: true })
  }
})

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

interface ListedClaim {
  lacks: string
  key: string
  kind: string
  accountId: string
}

const listed = (): ListedClaim[] =>
  readFileSync(listFile, 'utf8')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : (JSON.parse(line) as ListedClaim)))

/** An account with its two claims, as the application writes them: each row in the shard that has its slot. */
async function signUp(id: string, email: string, handle: string, claimsAt = other()): Promise<void> {
  await write(
    `INSERT INTO accounts (id, email, password_hash, password_version, created_at) VALUES ('${id}', '${email}', '', 1, 1)`,
  )
  await write(
    `INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES ('${id}', '${handle}', '', '', 1, 1)`,
  )
  for (const [kind, value] of [
    ['email', email],
    ['handle', handle],
  ] as const) {
    const key = sha256(`${kind}\0${value}`)
    await claimsAt.query([
      {
        sql: "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', ?, 'active', 1) ON CONFLICT DO NOTHING",
        params: [key.slice(0, 4)],
      },
    ])
    await claimsAt.query([
      {
        sql: "INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES (?, ?, ?, 'a', 'confirmed', 1)",
        params: [key, kind, id],
      },
    ])
  }
}

const other = () => platform.databases.databases.find(({ name }) => name === 'banyan-shard-001')!

test('claims of accounts that are gone, and accounts whose claims are, are listed', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  await signUp('0000leaves', 'leaves@example.com', 'leaves')
  const to = await moment()
  await signUp('0001new', 'new@example.com', 'newcomer')
  await write("DELETE FROM accounts WHERE id = '0000leaves'")
  await write("DELETE FROM profiles WHERE id = '0000leaves'")
  await other().query([{ sql: "DELETE FROM claims WHERE owner_id = '0000leaves'" }])
  const { json, text } = await take(to)
  expect(
    listed()
      .map(({ lacks, accountId, key }) => [lacks, accountId, key])
      .toSorted(),
  ).toEqual(
    [
      ['account', '0001new', sha256('email\0new@example.com')],
      ['account', '0001new', sha256('handle\0newcomer')],
      ['claim', '0000leaves', sha256('email\0leaves@example.com')],
      ['claim', '0000leaves', sha256('handle\0leaves')],
    ].toSorted(),
  )
  expect(json).toMatchObject({ lackingAccounts: 2, lackingClaims: 2, file: listFile })
  expect(text).toContain('2 claims of accounts that are gone')
})

test('claims that lie in the shard and came back with it, of an account elsewhere that is gone since, are listed', async () => {
  await other().query([
    { sql: "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '8000', 'active', 1)" },
  ])
  const key = sha256('handle\0gone')
  await write(`INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '${key.slice(0, 4)}', 'active', 1)`)
  await write(
    `INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES ('${key}', 'handle', '8000gone', 'a', 'confirmed', 1)`,
  )
  const to = await moment()
  await write('DELETE FROM claims')
  await take(to)
  expect(listed()).toEqual([{ lacks: 'account', key, kind: 'handle', accountId: '8000gone' }])
})

test('it serves before claims are compared; a comparison that fails leaves it serving, and can be had later', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  const to = await moment()
  await write("DELETE FROM claims WHERE owner_id = '0000stays'")
  await other().query([{ sql: 'ALTER TABLE claims RENAME TO away' }])
  const { text } = await take(to)
  expect(map.state).toBe('serving')
  expect(text).toContain('Its claims and accounts were not compared: ')
  expect(text).toContain('npm run banyan -- restore shard-000 --compare')
  expect(text).toContain('--bookmark=')
  await other().query([{ sql: 'ALTER TABLE away RENAME TO claims' }])
  await other().query([{ sql: "DELETE FROM claims WHERE kind = 'handle'" }])
  expect((await lookAgain()).text).toContain('1 claim that accounts lack')
  expect(listed()).toMatchObject([{ lacks: 'claim', kind: 'handle', accountId: '0000stays' }])
})

test('where the map has changed meanwhile, it says that some may be none', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  await other().query([{ sql: 'DELETE FROM claims' }])
  const opened = deployment.deployment
  deployment.deployment = () => ({ ...opened(), sleep: async () => void map.epoch++ })
  expect((await lookAgain()).text).toContain('The map has changed meanwhile')
})

test('its calls leave the platform’s limit to others: 1,200 in five minutes', async () => {
  const pauses: number[] = []
  const opened = deployment.deployment
  deployment.deployment = () => ({ ...opened(), sleep: async (ms) => void pauses.push(ms) })
  const before = platform.calls.length
  await lookAgain()
  const calls = platform.calls.length - before
  expect(pauses.reduce((sum, ms) => sum + ms) / calls).toBeGreaterThanOrEqual(300)
})

test('with claims and accounts whole, it says so', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  const { text } = await take(await moment())
  expect(text).toContain('Every claim has its account, and every account its claims.')
})

test.each(faults)('%s at the time travel: it is done once, or again with the same end', async (fault) => {
  const to = await moment()
  await write(MARK)
  platform.failAt(10, fault)
  const at = platform.calls.length + 9
  await take(to).catch(() => take(to))
  expect(platform.calls[at]!.path).toMatch(/time_travel\/restore$/)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
  expect(map.state).toBe('serving')
})

const session = (id: string, user = id) =>
  `INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at)
   VALUES ('${id}', '${user}', 'a', '', '', 1, 1, 9e15, 9e15)`

const account = (id: string, { version = 1, email = `${id}@example.com` } = {}) =>
  `INSERT INTO accounts (id, email, password_hash, password_version, created_at) VALUES ('${id}', '${email}', 'PHC-SECRET', ${version}, 1)`

const NEW_PASSWORD = 'UPDATE accounts SET password_version = password_version + 1'

interface ListedAccount {
  accountId: string
  changes: string[]
  passwordVersion: number | null
}

const listedAccounts = (): ListedAccount[] =>
  readFileSync(accountsFile, 'utf8')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : (JSON.parse(line) as ListedAccount)))

/** What the application’s proof says of a session. */
const proofOf = (id: string) =>
  write(`INSERT INTO session_guard (id, now) VALUES ('${id}', 2)`).then(
    () => 'live',
    (error: Error) => error.message,
  )

const MAIL =
  "INSERT INTO mail_tokens (id, user_id, purpose, email, secret_hash, expires_at) VALUES ('0000a', '0000b', 'verify-email', 'a', 'b', 1)"

describe('what must not come back', () => {
  test('a session that was ended, and a mailed token that was used: neither is there when the shard serves', async () => {
    await write(session('0000ended'))
    await write(session('0001lives'))
    await write(MAIL)
    const to = await moment()
    await write("DELETE FROM sessions WHERE id = '0000ended'")
    await write('DELETE FROM mail_tokens')
    let atService: unknown
    map.onServing = async () => {
      atService = [
        await read('SELECT id FROM sessions'),
        await read('SELECT id FROM mail_tokens'),
        await proofOf('0000ended'),
      ]
    }
    const { json, text } = await take(to)
    expect(atService).toEqual([[], [], expect.stringContaining('SESSION_ENDED')])
    expect(json).toMatchObject({ sessionsDeleted: 2, mailTokensDeleted: 1 })
    expect(text).toContain('Its users must log in again: 2 sessions and 1 mailed token were deleted.')
  })

  test('they go in pieces, each of which an index finds', async () => {
    await write(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
      INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at)
      SELECT printf('0000%05d', i), 'u', 'a', '', '', 1, 1, 9e15, 9e15 FROM n`)
    const to = await moment()
    const before = shard().history.length
    const { json } = await take(to)
    expect(json).toMatchObject({ sessionsDeleted: 12_000 })
    const pieces = shard()
      .history.slice(before)
      .flatMap(({ statements }) => statements.filter(({ sql }) => sql.startsWith('DELETE FROM sessions')))
    expect(pieces.map(({ params }) => params)).toEqual([
      ['', '000005000'],
      ['000005000', '000010000'],
      ['000010000', '000012000'],
    ])
    for (const { sql, params } of pieces) {
      const [plan] = await shard().engine.batch([{ sql: `EXPLAIN QUERY PLAN ${sql}`, params: params! }])
      expect(plan!.results[0]!.detail).toMatch(/^SEARCH sessions USING .*INDEX .*\(id>\? AND id<\?\)$/)
    }
  })

  test('a row of a slot that is not here stops nothing, and nobody can reach it', async () => {
    await write("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0009', 'active', 1)")
    await write(session('0009left'))
    await write("DELETE FROM slots WHERE slot = '0009'")
    const { json } = await take(await moment())
    expect(json).toMatchObject({ sessionsDeleted: 0 })
    expect(map.state).toBe('serving')
  })

  test('accounts whose password or address went back, and those that came or went, are listed for their operator only', async () => {
    for (const id of ['0000same', '0000word', '0001both', '0001gone']) await write(account(id))
    const to = await moment()
    await write(`${NEW_PASSWORD} WHERE id IN ('0000word', '0001both')`)
    await write("UPDATE accounts SET email = 'other@example.com' WHERE id = '0001both'")
    await write("DELETE FROM accounts WHERE id = '0001gone'")
    await write(account('0000new'))
    const { json, text } = await take(to)
    expect(listedAccounts()).toEqual([
      { accountId: '0000new', changes: ['created'], passwordVersion: 1 },
      { accountId: '0000word', changes: ['password'], passwordVersion: 2 },
      { accountId: '0001both', changes: ['password', 'email'], passwordVersion: 2 },
      { accountId: '0001gone', changes: ['deleted'], passwordVersion: null },
    ])
    expect(json).toMatchObject({ accounts: { password: 2, email: 1, created: 1, deleted: 1, file: accountsFile } })
    expect(text).toContain('2 accounts with an older password, 1 with an older e-mail address')
    expect(text).toContain(`They are listed in ${accountsFile}.`)
    expect(text).toContain('Send these users a password reset')
    expect(statSync(accountsFile).mode & 0o777).toBe(0o600)
    expect(readFileSync(accountsFile, 'utf8')).not.toMatch(/example\.com|PHC-SECRET/)
    expect(existsSync(beforeFile)).toBe(false)
  })

  test('what was noted before holds no address and no secret, and is its owner’s', async () => {
    await write(account('0000ada'))
    const to = await moment()
    await killedAt('travelling', to)
    expect(readFileSync(beforeFile, 'utf8')).toMatch(/^\["0000ada",1,"[\w-]{43}"\]\n$/)
    expect(statSync(beforeFile).mode & 0o777).toBe(0o600)
  })

  test('of more accounts than a page holds, each difference is found', async () => {
    await write(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000)
      INSERT INTO accounts (id, email, password_hash, password_version, created_at)
      SELECT printf('0000%05d', i), printf('%d@example.com', i), '', 1, 1 FROM n`)
    const to = await moment()
    const changed = ['000000001', '000004999', '000005000', '000005001', '000010000', '000010001', '000011000']
    await write(`${NEW_PASSWORD} WHERE id IN ('${changed.join("', '")}')`)
    await write("DELETE FROM accounts WHERE id IN ('000007000', '000010999')")
    await take(to)
    const found = listedAccounts()
    expect(found.filter(({ changes }) => changes[0] === 'password').map(({ accountId }) => accountId)).toEqual(changed)
    expect(found.filter(({ changes }) => changes[0] === 'deleted').map(({ accountId }) => accountId)).toEqual([
      '000007000',
      '000010999',
    ])
    expect(found).toHaveLength(9)
  })

  test('a password version never names a second password, also when a restore goes back before another', async () => {
    await write(account('0000ada'))
    const first = await moment()
    await write(NEW_PASSWORD)
    const second = await moment()
    await write(NEW_PASSWORD)
    const versions = () => read('SELECT password_version AS version FROM accounts')
    await take(first) // 3 → 1, raised
    expect(await versions()).toEqual([{ version: 4 }])
    await take(second) // to the password that had 2
    expect(await versions()).toEqual([{ version: 5 }])
    expect(listedAccounts()).toEqual([{ accountId: '0000ada', changes: ['password'], passwordVersion: 4 }])
  })

  test('cut off at any call, the next run has the same end', { timeout: 60_000 }, async () => {
    await write(account('0000ada'))
    const wrong = async () => {
      await write(session('0000ended', '0000ada'))
      const to = await moment()
      await write('DELETE FROM sessions')
      await write(NEW_PASSWORD)
      return to
    }
    const calls = await callsUntilServing(await wrong())
    for (let number = 1; number <= calls; number++) {
      const what = `call ${number}`
      const to = await wrong()
      const [was] = await read('SELECT password_version AS version FROM accounts')
      platform.goAwayAt(number)
      await expect(take(to), what).rejects.toThrow('did not answer')
      platform.recover()
      const { json } = await take(to)
      expect(json, what).toMatchObject({
        sessionsDeleted: 1,
        accounts: { password: 1, email: 0, created: 0, deleted: 0 },
      })
      expect(await read('SELECT id FROM sessions'), what).toEqual([])
      expect(listedAccounts(), what).toEqual([
        { accountId: '0000ada', changes: ['password'], passwordVersion: was!.version },
      ])
      expect(await read('SELECT password_version AS version FROM accounts'), what).toEqual([
        { version: (was!.version as number) + 1 },
      ])
    }
  })

  test.each(faults)(
    '%s at any call: what is deleted and listed is counted once',
    { timeout: 60_000 },
    async (fault) => {
      await write(account('0000ada'))
      const wrong = async () => {
        await write(session('0000ended', '0000ada'))
        const to = await moment()
        await write(NEW_PASSWORD)
        return to
      }
      const calls = await callsUntilServing(await wrong())
      for (let number = 1; number <= calls; number += 3) {
        const to = await wrong()
        platform.failAt(number, fault)
        const { json } = await take(to).catch(() => take(to))
        expect(json, `call ${number}`).toMatchObject({ sessionsDeleted: 1, accounts: { password: 1 } })
        platform.recover()
      }
    },
  )

  test('the last answer was lost: run again, it tells of what the run before has ended', async () => {
    await write(account('0000ada'))
    await write(session('0000ended', '0000ada'))
    const to = await moment()
    await write(NEW_PASSWORD)
    map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    await write(session('0000later', '0000ada'))
    const { json } = await take(to)
    expect(json).toMatchObject({ sessionsDeleted: 1, accounts: { password: 1 } })
    expect(await read('SELECT id FROM sessions')).toEqual([{ id: '0000later' }])
  })

  test('put back by hand in the middle, and given up: it may have been taken back, so its sessions end', async () => {
    await write(account('0000ada'))
    await write(session('0000ended', '0000ada'))
    const to = await moment()
    await write('DELETE FROM sessions')
    await write(NEW_PASSWORD)
    await killedAt('travelling', to)
    map.state = 'serving'
    const { text } = await giveUp()
    expect(await read('SELECT id FROM sessions')).toEqual([])
    expect(listedAccounts()).toMatchObject([{ accountId: '0000ada', changes: ['password'] }])
    expect(text).toContain('1 account with an older password')
  })

  test('given up, the sessions of before live on', async () => {
    await write(account('0000ada'))
    await write(session('0000lives', '0000ada'))
    const to = await moment()
    await killedAt('reconciled', to)
    expect(await read('SELECT id FROM sessions')).toEqual([])
    await giveUp()
    expect(await proofOf('0000lives')).toBe('live')
  })

  test('reconciled by an older version, which ended nothing: that is done before it serves', async () => {
    await write(session('0000ended'))
    const to = await moment()
    await write('DELETE FROM sessions')
    await killedAt('reconciled', to)
    const { ended: _, accounts: __, ...old } = JSON.parse(readFileSync(noteFile, 'utf8')) as Record<string, unknown>
    writeFileSync(noteFile, JSON.stringify(old))
    await write(session('0000ended'))
    const { json, text } = await take(to)
    expect(await read('SELECT id FROM sessions')).toEqual([])
    expect(json).toMatchObject({ sessionsDeleted: 1, accounts: null })
    expect(text).toContain('Accounts were not compared')
  })

  test.each([
    ['lost', () => rmSync(beforeFile)],
    ['not all there', () => writeFileSync(beforeFile, readFileSync(beforeFile, 'utf8').slice(0, -3))],
  ])('the note of the accounts is %s: it says so, and the shard serves', async (_, lose) => {
    await write(account('0000ada'))
    const to = await moment()
    await write(NEW_PASSWORD)
    await killedAt('travelling', to)
    lose()
    const { json, text } = await take(to)
    expect(json).toMatchObject({ accounts: null })
    expect(text).toContain('Ask the users of this shard to reset their passwords.')
    expect(map.state).toBe('serving')
  })
})
