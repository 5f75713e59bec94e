import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/accounts/restore.operator.ts'
import { restoreTo } from '../../../../src/cli/platform/time-travel.ts'
import { root } from '../../../../src/cli/shell/root.ts'
import { faults } from '../../../support/platform/http.ts'
import { MARK, restoreStand, session } from '../../../support/platform/restore-stand.ts'

const stand = restoreStand([operator])
const { noteFile, shard, write, read, moment, take, lookAgain, giveUp, about, callsUntilServing, killedAt } = stand

test('later writes are lost, the shard was out of service meanwhile, and the mover’s step has not decreased', async () => {
  const to = await moment()
  await write(MARK)
  await write('UPDATE mover SET step = 7')
  await take(to)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
  expect(stand.map.changes).toEqual(['restoring', 'serving'])
  expect(await read('SELECT step, open FROM mover')).toEqual([{ step: 8, open: 0 }])
  expect(existsSync(noteFile)).toBe(false)
})

test('the restore waits for a lease before the time travel', async () => {
  const to = await moment()
  const pauses: number[] = []
  const opened = stand.deployment.deployment
  stand.deployment.deployment = () => ({
    ...opened(),
    sleep: async (ms) => {
      pauses.push(ms)
      if (pauses.length === 1) await write(MARK) // a router with the previous map
    },
  })
  await take(to)
  expect(pauses[0]).toBe(41_000)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
})

const OTHER_SLOTS = 'because it had other slots at that time, and a move has changed them since.'

test.each([
  ['slots that left since', "DELETE FROM slots WHERE slot = '0001'"],
  ['slots that came since', "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0002', 'active', 2)"],
  ['slots that left and came back', "UPDATE slots SET epoch = 3 WHERE slot = '0001'"],
])('%s: refused, and the shard is as before', async (_, sql) => {
  const to = await moment()
  await write(sql)
  await write(MARK)
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow(OTHER_SLOTS)
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(await read('SELECT id FROM claim_attempts')).toHaveLength(1)
  expect(stand.map.changes).toEqual(['restoring', 'serving'])
})

test('a restore that a move refused and that runs again after the move does not bring back moved slots', async () => {
  const to = await moment()
  stand.map.failing = { to: 'restoring', how: 'refused' }
  await expect(take(to)).rejects.toThrow('SHARD_IN_MOVE')
  await write("DELETE FROM slots WHERE slot = '0001'")
  const slots = await read('SELECT * FROM slots')
  await expect(take(to)).rejects.toThrow(OTHER_SLOTS)
  expect(await read('SELECT * FROM slots')).toEqual(slots)
  expect(stand.map.state).toBe('serving')
})

test('a restore interrupted during its wait refuses a shard that served again and moved slots since', async () => {
  const to = await moment()
  const opened = stand.deployment.deployment
  stand.deployment.deployment = () => ({ ...opened(), sleep: () => Promise.reject(new Error('killed')) })
  await expect(take(to)).rejects.toThrow('killed')
  stand.deployment.deployment = opened
  stand.map.state = 'serving'
  await write("UPDATE slots SET epoch = 3 WHERE slot = '0001'")
  await expect(take(to)).rejects.toThrow(OTHER_SLOTS)
})

test('a time before the first migration is refused, and the shard is as before', async () => {
  shard().history[0]!.at = Date.now()
  const first = new Date(Date.now() - 3_600_000).toISOString()
  await expect(take(first)).rejects.toThrow('it was not migrated yet')
  expect(await read('SELECT shard FROM shard_identity')).toEqual([{ shard: 'shard-000' }])
  expect(stand.map.state).toBe('serving')
})

test('after an interruption at a time before the first migration, the next run brings the shard back', async () => {
  shard().history[0]!.at = Date.now()
  const first = new Date(Date.now() - 3_600_000).toISOString()
  stand.platform.goAwayAt(11) // after the time travel
  await expect(take(first)).rejects.toThrow('did not answer')
  stand.platform.recover()
  await expect(take(first)).rejects.toThrow('it was not migrated yet')
  expect(await read('SELECT shard FROM shard_identity')).toEqual([{ shard: 'shard-000' }])
  expect(stand.map.state).toBe('serving')
})

test('a later migration is applied again', async () => {
  const third = shard().history.findIndex(({ statements }) => statements.at(-1)?.params?.[0] === '0002_moves.sql')
  const [migration] = shard().history.splice(third, 1)
  const to = await moment()
  shard().history.push({ ...migration!, at: Date.now() })
  await take(to)
  expect(await read('SELECT name FROM d1_migrations')).toContainEqual({ name: '0002_moves.sql' })
})

test.each(['planned', 'copying', 'settling', 'purging'])(
  'a restore is refused while a move is %s at the shard, before it changes anything',
  async (state) => {
    const to = await moment()
    stand.map.moves.push({ id: 'm1', state, source: 'shard-001', target: 'shard-000' })
    await expect(take(to)).rejects.toThrow(`Move m1 (${state}) works at shard-000`)
    expect(stand.map.changes).toEqual([])
  },
)

test.each([
  ['an invalid time', 'yesterday', 'which is not a time'],
  ['a time in the future', '2999-01-01T00:00:00Z', 'is in the future'],
  ['a time too long ago', '2020-01-01T00:00:00Z', 'more than 30 days ago'],
])('%s is refused', async (_, to, message) => {
  await expect(take(to)).rejects.toThrow(message)
  expect(stand.map.changes).toEqual([])
})

test('an unknown shard, and one that another restore took out of service, are refused', async () => {
  const to = await moment()
  await expect(take(to, 'shard-009')).rejects.toThrow('The map has no shard "shard-009"')
  stand.map.state = 'restoring'
  await expect(take(to)).rejects.toThrow('shard-000 is restoring')
})

test('after an interruption at any call, the next run completes it; after the time travel, another time is refused', async () => {
  await write('UPDATE mover SET step = 7')
  const calls = await callsUntilServing(await moment())
  for (let number = 1; number <= calls; number++) {
    const to = await moment()
    await write(MARK)
    const { step } = (await read('SELECT step FROM mover'))[0] as { step: number }
    stand.platform.goAwayAt(number)
    await expect(take(to), `call ${number}`).rejects.toThrow('did not answer')
    stand.platform.recover()
    const stage = existsSync(noteFile) ? (JSON.parse(readFileSync(noteFile, 'utf8')) as { stage: string }).stage : null
    if (stage !== null && stage !== 'taken-out')
      await expect(take(await moment())).rejects.toThrow('was interrupted and is not complete')
    const { json } = await take(to)
    expect(await read('SELECT id FROM claim_attempts'), `call ${number}`).toEqual([])
    expect(((await read('SELECT step FROM mover'))[0] as { step: number }).step).toBeGreaterThan(step)
    expect(stand.map.state).toBe('serving')
    // The bookmark to undo the restore is from before the first time travel, in whichever run that was.
    await restoreTo(stand.deployment.deployment().platform, shard().id, (json as { wayBack: string }).wayBack)
    expect(await read('SELECT id FROM claim_attempts'), `call ${number}`).toHaveLength(1)
    await write('DELETE FROM claim_attempts')
  }
})

const marks = () => read('SELECT id FROM claim_attempts ORDER BY id')
const LATER_MARK = MARK.replace('0000a', '0000z')

describe('on a shard that is already in service', () => {
  test('a run after a lost last answer keeps the writes acknowledged since', async () => {
    const to = await moment()
    await write(MARK)
    stand.map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    expect(stand.map.state).toBe('serving')
    await write(LATER_MARK)
    const { text } = await take(to)
    expect(text).toContain(`shard-000 is in service again, restored to ${to}.`)
    expect(await marks()).toEqual([{ id: '0000z' }])
    expect(existsSync(noteFile)).toBe(false)
  })

  test('if an operator returned it to service midway, a run is refused, and abandoning keeps it as it is', async () => {
    await write('UPDATE mover SET step = 7')
    const to = await moment()
    await write(MARK)
    await killedAt('travelling', to)
    stand.map.state = 'serving'
    await write(LATER_MARK)
    const before = await marks()
    await expect(take(to)).rejects.toThrow('shard-000 is serving, although its restore')
    await giveUp()
    expect(await marks()).toEqual(before)
    const [mover] = await read('SELECT step FROM mover')
    expect(mover!.step).toBeGreaterThan(7)
    expect(existsSync(noteFile)).toBe(false)
  })

  test('if an operator returned it to service with the slots from before a move, abandoning is refused', async () => {
    const to = await moment()
    await write("DELETE FROM slots WHERE slot = '0001'")
    await killedAt('travelling', to)
    stand.map.state = 'serving'
    await expect(giveUp()).rejects.toThrow('its slots differ from those it had when the restore started')
    stand.map.state = 'restoring'
    await giveUp()
    expect(await read("SELECT slot FROM slots WHERE keyspace = 'users'")).toEqual([{ slot: '0000' }])
    expect(stand.map.state).toBe('serving')
  })
})

describe('an abandoned restore', () => {
  test.each(['taken-out', 'travelling', 'reconciled'] as const)(
    'at %s: the shard is as before and in service',
    async (stage) => {
      const to = await moment()
      await write(MARK)
      await killedAt(stage, to)
      const { text } = await giveUp()
      expect(text).toBe('shard-000 is in service again, as it was before the restore.')
      expect([stand.map.state, await marks(), existsSync(noteFile)]).toEqual(['serving', [{ id: '0000a' }], false])
      await take(to)
      expect(await marks()).toEqual([])
    },
  )

  test('after its completion: later writes stay, and the output names the bookmark to undo it', async () => {
    const to = await moment()
    stand.map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    await write(MARK)
    expect((await giveUp()).text).toContain('--bookmark=')
    expect(await marks()).toHaveLength(1)
  })

  test('interrupted itself: it can be run again, or the shard restored to another time', async () => {
    const to = await moment()
    await write(MARK)
    const right = await moment()
    await killedAt('travelling', to)
    stand.map.failing = { to: 'serving', how: 'away' }
    await expect(giveUp()).rejects.toThrow('answered 503')
    stand.map.failing = null
    await take(right)
    expect(await marks()).toHaveLength(1)
  })

  test('is refused if none was started', async () => {
    await expect(giveUp()).rejects.toThrow('There is no interrupted restore of shard-000 on this machine.')
  })
})

test('a wrong time can be corrected before the time travel', async () => {
  const wrong = await moment()
  await write(MARK)
  const right = await moment()
  await killedAt('taken-out', wrong)
  await take(right)
  expect(await marks()).toHaveLength(1)
})

test('after an interruption, the output names the shard’s state and how to resume and abandon', async () => {
  const to = await moment()
  await killedAt('travelling', to)
  expect(stand.deployment.said.at(-1)).toBe(
    [
      `shard-000 is out of service (its users get 503). Its data may already be restored to ${to}.`,
      `To resume: npm run banyan -- restore shard-000 --to ${to}`,
      'To abandon the restore: npm run banyan -- restore shard-000 --abandon',
    ].join('\n'),
  )
})

test('Ctrl-C during the wait prints the same, and the named command abandons the restore', async () => {
  const name = `banyan-interrupted-${process.pid}`
  const config = readFileSync(stand.deployment.configPath, 'utf8')
  writeFileSync(stand.deployment.configPath, config.replace('name = "banyan"', `name = "${name}"`))
  const { connection } = about()
  const api = createServer(async (request, response) => {
    const body = request.method === 'PATCH' ? JSON.parse(await text(request)) : null
    const answer = body ? await connection.patch('', body) : await connection.get(request.url!)
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  })
  await once(api.listen(0, '127.0.0.1'), 'listening')
  const { port } = api.address() as AddressInfo
  const started = (...options: string[]) => {
    const url = ['--url', `http://127.0.0.1:${port}`, '--token', 'token', '--config', stand.deployment.configPath]
    const args = ['src/cli/main.ts', 'restore', 'shard-000', ...options, ...url]
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...stand.platform.environment } })
    return { child, closed: once(child, 'close'), said: text(child.stderr), answered: text(child.stdout) }
  }
  try {
    const to = await moment()
    const first = started('--to', to)
    while (stand.map.state !== 'restoring') await new Promise((resolve) => setTimeout(resolve, 20))
    first.child.kill('SIGINT')
    expect(await first.closed).toEqual([130, null])
    expect(await first.said).toContain('shard-000 was taken out of service (its users get 503), or was about to be.')
    expect(await first.said).toContain('To abandon the restore: npm run banyan -- restore shard-000 --abandon')

    const second = started('--abandon')
    expect(await second.answered).toBe('shard-000 is in service again, as it was before the restore.\n')
    expect(stand.map.state).toBe('serving')
  } finally {
    api.close()
    rmSync(path.join(root, `.wrangler/deploy/${name}-shard-000.restore.json`), { force: true })
  }
})

test('a comparison stays below the platform’s limit of 1,200 calls in five minutes', async () => {
  const pauses: number[] = []
  const opened = stand.deployment.deployment
  stand.deployment.deployment = () => ({ ...opened(), sleep: async (ms) => void pauses.push(ms) })
  const before = stand.platform.calls.length
  await lookAgain()
  const calls = stand.platform.calls.length - before
  expect(pauses.reduce((sum, ms) => sum + ms) / calls).toBeGreaterThanOrEqual(300)
})

test.each(faults)('%s at the time travel: it runs once, or again with the same result', async (fault) => {
  const to = await moment()
  await write(MARK)
  stand.platform.failAt(10, fault)
  const at = stand.platform.calls.length + 9
  await take(to).catch(() => take(to))
  expect(stand.platform.calls[at]!.path).toMatch(/time_travel\/restore$/)
  expect(await read('SELECT id FROM claim_attempts')).toEqual([])
  expect(stand.map.state).toBe('serving')
})

describe('sessions must not come back', () => {
  test('they are deleted in pieces, each of which uses an index', async () => {
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

  test('a row of a slot that the shard does not have is left, because no user can reach it', async () => {
    await write("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0009', 'active', 1)")
    await write(session('0009left'))
    await write("DELETE FROM slots WHERE slot = '0009'")
    const { json } = await take(await moment())
    expect(json).toMatchObject({ sessionsDeleted: 0 })
    expect(stand.map.state).toBe('serving')
  })
})
