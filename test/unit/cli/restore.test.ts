import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ClaimDifferences } from '../../../src/cli/claim-differences.ts'
import { NotNow, UserError } from '../../../src/cli/errors.ts'
import { restoreTo } from '../../../src/cli/platform/time-travel.ts'
import { restore } from '../../../src/cli/restore.ts'
import { type PlatformDouble, startPlatform } from '../../support/platform/double.ts'
import { faults } from '../../support/platform/http.ts'
import { type SmallDeployment, smallDeployment } from '../../support/platform/small-deployment.ts'

/** Stands for the operators' API of the deployed application. */
interface MapDouble {
  /** Lists its shards no more: one of them has no tables. */
  isUnreadable: boolean
  state: string
  changes: string[]
  moves: { id: string; state: string; source: string; target: string }[]
  /** What becomes of the next change of a state: it is refused, or it is made and its answer is lost. */
  failing: 'refused' | 'lost' | null
}

let platform: PlatformDouble
let deployment: SmallDeployment
let map: MapDouble
const noteFile = path.join(tmpdir(), `banyan-restore-test-${process.pid}.json`)
const listFile = noteFile.replace('.json', '.claims.json')

beforeEach(async () => {
  platform = await startPlatform({ serving: 'stand-in' })
  deployment = smallDeployment(platform)
  await deployment.deploy()
  map = { isUnreadable: false, state: 'serving', changes: [], moves: [], failing: null }
  await write("INSERT INTO shard_identity (id, deployment, shard) VALUES (1, 'd', 'shard-000')")
  await write(
    "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0000', 'active', 1), ('users', '0001', 'active', 1)",
  )
})

afterEach(async () => {
  rmSync(noteFile, { force: true })
  rmSync(listFile, { force: true })
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
  restore(deployment.deploying(), {
    shard: shardId,
    to,
    now: Date.now(),
    noteFile,
    connection: {
      get: async (asked: string) => {
        if (map.isUnreadable && !asked.startsWith('/operator/v1/moves')) throw new Error('unreadable')
        return (
          asked.startsWith('/operator/v1/moves')
            ? { items: map.moves, next: null }
            : { items: [{ id: 'shard-000', binding: 'SHARD_000', state: map.state, slots: 2 }] }
        ) as never
      },
      patch: async (_: string, body: object) => {
        const { failing } = map
        map.failing = null
        if (failing === 'refused') throw new UserError('answered 409 SHARD_IN_MOVE', 'Try again in 5 s.')
        map.state = (body as { state: string }).state
        map.changes.push(map.state)
        if (failing === 'lost') throw new NotNow('does not answer', 'It may have been done all the same.')
        return {} as never
      },
    },
  })

const MAIL =
  "INSERT INTO mail_tokens (id, user_id, purpose, email, secret_hash, expires_at) VALUES ('0000a', '0000b', 'verify-email', 'a', 'b', 1)"

test('what was written since is gone, it served nobody meanwhile, and the mover’s step has not fallen', async () => {
  const to = await moment()
  await write(MAIL)
  await write('UPDATE mover SET step = 7')
  await take(to)
  expect(await read('SELECT id FROM mail_tokens')).toEqual([])
  expect(map.changes).toEqual(['restoring', 'serving'])
  expect(await read('SELECT step, open FROM mover')).toEqual([{ step: 8, open: 0 }])
  expect(existsSync(noteFile)).toBe(false)
})

test('its lease is waited for before anything is taken back', async () => {
  const to = await moment()
  const pauses: number[] = []
  const opened = deployment.deploying
  deployment.deploying = () => ({
    ...opened(),
    sleep: async (ms) => {
      pauses.push(ms)
      await write(MAIL) // a router with the map before
    },
  })
  await take(to)
  expect(pauses).toEqual([41_000])
  expect(await read('SELECT id FROM mail_tokens')).toEqual([])
})

test.each([
  ['slots that left since', "DELETE FROM slots WHERE slot = '0001'"],
  ['slots that came since', "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0002', 'active', 2)"],
  ['slots that left and came back', "UPDATE slots SET epoch = 3 WHERE slot = '0001'"],
])('%s: refused, and all is as it was', async (_, sql) => {
  const to = await moment()
  await write(sql)
  await write(MAIL)
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow('it had other slots: a move has touched it since')
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(await read('SELECT id FROM mail_tokens')).toHaveLength(1)
  expect(map.changes).toEqual(['restoring', 'serving'])
})

test('refused by a move, and run again after that move: what the move has taken away does not come back', async () => {
  const to = await moment()
  map.failing = 'refused'
  await expect(take(to)).rejects.toThrow('SHARD_IN_MOVE')
  await write("DELETE FROM slots WHERE slot = '0001'")
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow('it had other slots: a move has touched it since')
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(map.state).toBe('serving')
})

test('cut off while the lease is waited for, back in service by hand, moved: the same', async () => {
  const to = await moment()
  const opened = deployment.deploying
  deployment.deploying = () => ({ ...opened(), sleep: () => Promise.reject(new Error('killed')) })
  await expect(take(to)).rejects.toThrow('killed')
  deployment.deploying = opened
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

test('cut off while it is as it was before its first migration: the next run brings it back, without the application', async () => {
  shard().history[0]!.at = Date.now()
  const first = new Date(Date.now() - 3_600_000).toISOString()
  platform.goAwayAt(10) // after the time travel
  await expect(take(first)).rejects.toThrow('did not answer')
  platform.recover()
  map.isUnreadable = true
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

test('cut off at any call, the next run ends it; another time is refused meanwhile', async () => {
  await write('UPDATE mover SET step = 7')
  for (let number = 1; number <= 21; number++) {
    const to = await moment()
    await write(MAIL)
    const { step } = (await read('SELECT step FROM mover'))[0] as { step: number }
    platform.goAwayAt(number)
    await expect(take(to), `call ${number}`).rejects.toThrow('did not answer')
    platform.recover()
    if (existsSync(noteFile)) await expect(take(await moment())).rejects.toThrow('was cut off and is not over')
    const { json } = await take(to)
    expect(await read('SELECT id FROM mail_tokens'), `call ${number}`).toEqual([])
    expect(((await read('SELECT step FROM mover'))[0] as { step: number }).step).toBeGreaterThan(step)
    expect(map.state).toBe('serving')
    // The way back is from before the first time travel, whichever run it was.
    await restoreTo(deployment.deploying().platform, shard().id, (json as { wayBack: string }).wayBack)
    expect(await read('SELECT id FROM mail_tokens'), `call ${number}`).toHaveLength(1)
    await write('DELETE FROM mail_tokens')
  }
})

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

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
  const { orphans, unclaimed } = json as ClaimDifferences
  expect(JSON.parse(readFileSync(listFile, 'utf8'))).toEqual({ orphans, unclaimed })
  expect(orphans.map(({ ownerId, kind }) => [ownerId, kind]).toSorted()).toEqual([
    ['0001new', 'email'],
    ['0001new', 'handle'],
  ])
  expect(unclaimed.map(({ accountId, key }) => [accountId, key]).toSorted()).toEqual(
    [sha256('email\0leaves@example.com'), sha256('handle\0leaves')].map((key) => ['0000leaves', key]).toSorted(),
  )
  expect(text).toContain('2 claims of accounts that are gone')
})

test('with claims and accounts whole, it says so', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  const { text } = await take(await moment())
  expect(text).toContain('Every claim has its account, and every account its claims.')
})

test.each(faults)('%s at the time travel: it is done once, or again with the same end', async (fault) => {
  const to = await moment()
  await write(MAIL)
  platform.failAt(9, fault)
  const at = platform.calls.length + 8
  await take(to).catch(() => take(to))
  expect(platform.calls[at]!.path).toMatch(/time_travel\/restore$/)
  expect(await read('SELECT id FROM mail_tokens')).toEqual([])
  expect(map.state).toBe('serving')
})
