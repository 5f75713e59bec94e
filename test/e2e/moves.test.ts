import { afterAll, beforeAll, expect, test } from 'vitest'
import { shardedTables } from '../../scripts/shard-schema.ts'
import { sha256Hex } from '../../src/core/digest.ts'
import { slotOf } from '../../src/core/ids.ts'
import { banyan as run } from '../support/banyan.ts'
import type { Bearer } from '../support/http-client.ts'
import { outboxesDrained, type Stack, startStack } from '../support/stack.ts'

// A quarter of all slots, and so two of every eight users.
const SLOTS = '0000-3fff'
const isMoved = (key: string) => slotOf(key) <= '3fff'

let stack: Stack
const writers: { client: Bearer; id: string }[] = []

beforeAll(async () => {
  stack = await startStack()
  for (let number = 0; number < 8; number++) {
    const client = stack.bearer()
    const person = { email: `p${number}@example.com`, handle: `p_${number}`, password: 'seven quiet herons' }
    const answer = await client.post('/api/v1/accounts', person)
    expect(answer.status, answer.text).toBe(201)
    const { id } = answer.json<{ user: { id: string } }>().user
    if (isMoved(id)) writers.push({ client, id })
  }
  expect(writers).toHaveLength(2)
})
afterAll(() => stack?.close())

const banyan = (...args: string[]) => run(stack.url, ...args)

/** Every tenth write adds a row, the stored answer of its Idempotency-Key. The others change the profile. */
const isInsert = (number: number) => number % 10 === 9

/** Writes as fast as the answers come, until it is stopped. Resolves to accepted writes, and all other answers. */
function writing({ client }: { client: Bearer }) {
  let isStopped = false
  const run = async () => {
    const bios: string[] = []
    const keys: string[] = []
    const refused: string[] = []
    for (let number = 0; !isStopped; number++) {
      const text = `number ${number}`
      const answer = isInsert(number)
        ? await client.post('/api/v1/email-verifications', undefined, { headers: { 'idempotency-key': text } })
        : await client.request('PATCH', '/api/v1/me', { json: { bio: text } })
      if (answer.status >= 300) refused.push(`${answer.status} ${answer.text}`)
      else if (isInsert(number)) keys.push(text)
      else bios.push(text)
    }
    return { bios, keys, refused }
  }
  const ended = run()
  return {
    stop() {
      isStopped = true
      return ended
    },
  }
}

/** The rows of a table in the moved slots, by binding. */
async function movedRows(table: string, key: string): Promise<Record<string, Record<string, string>[]>> {
  const found = [...stack.databases].map(async ([binding, database]) => {
    const { results } = await database.prepare(`SELECT * FROM "${table}"`).all<Record<string, string>>()
    return [binding, results.filter((row) => isMoved(row[key]!))] as const
  })
  return Object.fromEntries(await Promise.all(found))
}

test('a quarter of the slots moves by one command while their users write, and no write is refused or lost', async () => {
  const writings = writers.map(writing)
  const started = await banyan('moves', 'start', SLOTS, 'shard-001', '--until', 'done')
  const written = await Promise.all(writings.map((one) => one.stop()))

  expect(started.code, started.stderr).toBe(0)
  const [, id = '', rows = '', cutoverMs = ''] =
    /^Move (\w{26}), slots 0000-3fff of users: shard-001 has them, with ([\d,]+) rows. Writes waited for (\d+) ms. shard-000 has deleted its rows.\n$/.exec(
      started.stdout,
    ) ?? []
  expect(id, started.stdout).not.toBe('')
  expect(Number(rows.replaceAll(',', ''))).toBeGreaterThan(10)
  expect(Number(cutoverMs)).toBeLessThan(2_000)
  const states = started.stderr.split('\n').map((line) => /% {2}([a-z-]+)/.exec(line)?.[1])
  expect(states.filter((state) => ['planned', 'settling', 'done'].includes(state!))).toEqual([
    'planned',
    'settling',
    'done',
  ])

  for (const [index, { bios, keys, refused }] of written.entries()) {
    const { id } = writers[index]!
    expect(refused).toEqual([])
    expect(bios.length).toBeGreaterThan(25)
    expect(keys.length).toBeGreaterThan(2)
    const [profile] = (await movedRows('profiles', 'id')).SHARD_001!.filter((row) => row.id === id)
    // Each change raised the version by one.
    expect([profile!.bio, profile!.version]).toEqual([bios.at(-1), 1 + bios.length])
    const kept = (await movedRows('idempotency_keys', 'id')).SHARD_001!.filter((row) => row.id!.startsWith(id))
    expect(kept.map((row) => row.id).toSorted()).toEqual(keys.map((key) => `${id}.${sha256Hex(key)}`).toSorted())
  }
  await outboxesDrained(stack)
  for (const table of (await shardedTables()).filter(({ keyspace }) => keyspace === 'users')) {
    const { SHARD_000 } = await movedRows(table.name, table.key[0]!)
    expect(SHARD_000, table.name).toEqual([])
  }
  const profiles = (await movedRows('profiles', 'id')).SHARD_001!.map((profile) => profile.id)
  expect(profiles.toSorted()).toEqual(writers.map(({ id }) => id).toSorted())
  expect((await stack.slotOwners()).users!(0x3fff)).toBe('SHARD_001')

  const shown = await banyan('moves', 'show', id)
  expect(shown).toMatchObject({ code: 0, stderr: '' })
  expect(shown.stdout).toContain(`cutover  ${cutoverMs} ms`)
  const listed = await banyan('moves', 'list')
  expect(listed.stdout).toMatch(new RegExp(`${id} +users +0000-3fff +shard-000 +shard-001 +done +100% `))
  expect(await banyan('moves', 'start', SLOTS, 'shard-001')).toMatchObject({
    code: 0,
    stdout: 'Nothing to move: shard-001 already has all of these slots.\n',
  })
  const aborted = await banyan('moves', 'abort', id)
  expect(aborted).toMatchObject({ code: 1, stdout: '' })
  expect(aborted.stderr).toContain('409 MOVE_STATE')
})

test('a move is planned without waiting, watched, reversed, and completed', async () => {
  const planned = await banyan('moves', 'start', '4000', 'shard-001', '--no-wait', '--json')
  expect(planned).toMatchObject({ code: 0, stderr: '' })
  const { id } = (JSON.parse(planned.stdout) as { moves: [{ id: string }] }).moves[0]
  const followed = await banyan('moves', 'show', id, '--follow', '--json')
  expect(followed.code).toBe(0)
  expect(JSON.parse(followed.stdout)).toMatchObject({ move: { id, state: 'settling', target: 'shard-001' } })
  const reversed = await banyan('moves', 'reverse', id)
  expect(reversed.stdout).toContain('Slots 4000 move back from shard-001 to shard-000.')
  expect((await banyan('moves', 'show', id, '--follow')).stdout).toContain('shard-001 (the move was reversed)')
  const completed = await banyan('moves', 'complete', id)
  expect(completed.stdout).toMatch(/^shard-001 deletes its rows after \d{4}-.* UTC, when the last lease has expired\./)
  expect((await banyan('moves', 'show', id, '--follow', '--until', 'done')).stdout).toMatch(/^state {4}done$/m)
})

test('a wrong command is refused with the reason and the fix', async () => {
  const wrong: [string[], string][] = [
    [['moves'], 'Usage: banyan moves'],
    [['moves', 'start', '0000'], "Missing required argument 'TARGET'"],
    [['moves', 'list', '--follow'], "Unknown option '--follow'"],
    [['moves', 'start', '0000', 'shard-001', '--until', 'never'], 'Allowed choices are settling, done.'],
    [['moves', 'start', '00', 'shard-001'], '422 INVALID: /slots'],
    [['moves', 'start', '0000', 'shard-007'], '422 INVALID: There is no shard "shard-007".'],
    [['moves', 'show', 'x'], '404 NOT_FOUND'],
    [['shards', 'drain', 'shard-009'], 'There is no shard "shard-009".'],
    [['shards', 'remove', 'shard-009'], 'There is no shard "shard-009".'],
    [['shards', 'remove', 'shard-000'], '409 SHARD_NOT_EMPTY'],
    [['shards', 'add', '--count', '0'], '--count is "0".'],
    [['shards', 'add', '--config', 'none.toml'], 'none.toml.'],
    [['rebalance', '--tolerance', '5'], '--tolerance is "5".'],
    [['rebalance', '--by', 'users'], '422 INVALID'],
    [['rebalance', 'now'], "Too many arguments for 'rebalance'."],
    [['migrations', 'apply', '--at-once', 'many'], '--at-once is "many".'],
  ]
  const answers = await Promise.all(wrong.map(([args]) => banyan(...args)))
  for (const [index, { code, stdout, stderr }] of answers.entries()) {
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(wrong[index]![1])
    expect(stderr).not.toContain('at file:')
    expect(stderr.trim().split('\n').length).toBeGreaterThanOrEqual(2)
  }
})
