import { beforeEach, describe, expect, test } from 'vitest'
import { batchByName, onlyRow, rowsOf } from '../../../src/sharding/named-batch.ts'
import '../../support/light-passwords.ts'
import { type Member, member } from '../../support/members.ts'
import { writeRow } from '../../support/session-writes.ts'
import { emptyShards, runEverywhere } from '../../support/shard-rows.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

let isolate: TestIsolate
let ada: Member
let rowId: string

beforeEach(async () => {
  await emptyShards()
  const world = new World()
  ada = await member(world)
  isolate = world.isolate()
  rowId = await writeRow(isolate.tiers, ada.session, 'before')
})

const opened = () => isolate.tiers.sessions.database(ada.session, { operation: 'test' })
const plain = () => isolate.tiers.shards.of(ada.userId, { operation: 'test' })
const textNow = () => plain().prepare('SELECT text FROM posts WHERE id = ?').bind(rowId).first('text')
const edit = (database: D1Database | D1DatabaseSession) =>
  database
    .prepare("UPDATE posts SET text = 'after', version = version + 1 WHERE id = ? RETURNING text, text")
    .bind(rowId)

/** Each way to send a write. */
const ways: [string, () => Promise<unknown>][] = [
  ['run()', () => edit(opened()).run()],
  ['all()', () => edit(opened()).all()],
  ['first()', () => edit(opened()).first()],
  ['raw()', () => edit(opened()).raw()],
  ['a batch with a read before it', () => batchOf(opened())],
  ['a D1 session', () => edit(opened().withSession('first-primary')).run()],
]

function batchOf(database: D1Database): Promise<unknown> {
  return database.batch([database.prepare('SELECT 1'), edit(database)])
}

describe.each(ways)('a write by %s', (_, send) => {
  test('happens if the session is live, with the write’s own answers', async () => {
    await send()
    expect(await textNow()).toBe('after')
  })

  test('is refused completely if the session has ended', async () => {
    await runEverywhere('DELETE FROM sessions')
    expect(await rejectionOf(send())).toMatchObject({ code: 'SESSION_ENDED' })
    expect(await textNow()).toBe('before')
  })
})

test('answers keep the places of their statements, and changes are the write’s', async () => {
  const database = opened()
  const [read, edited] = await database.batch([database.prepare("SELECT 'x' AS x"), edit(database)])
  expect([read!.results, edited!.results, edited!.meta.changes]).toEqual([[{ x: 'x' }], [{ text: 'after' }], 1])
  expect(await edit(opened()).raw({ columnNames: true })).toEqual([
    ['text', 'text'],
    ['after', 'after'],
  ])
})

test.each([
  ['a session’s database', opened],
  ['a D1 session of it', () => opened().withSession('first-primary')],
  ['a routed database', plain],
])('answers are read by name on %s, also after a list', async (_, open) => {
  const database = open()
  const { before, read, edited } = await batchByName(database, {
    before: ['a', 'b'].map((text) => rowsOf<{ text: string }>(database.prepare('SELECT ? AS text').bind(text))),
    read: database.prepare("SELECT 'x' AS x"),
    edited: edit(database),
  })
  expect(before.map((answer) => onlyRow(answer).text)).toEqual(['a', 'b'])
  expect([read.results, edited.results, edited.meta.changes]).toEqual([[{ x: 'x' }], [{ text: 'after' }], 1])
})

test('a read needs no session', async () => {
  await runEverywhere('DELETE FROM sessions')
  expect(await opened().prepare('SELECT text FROM posts WHERE id = ?').bind(rowId).first('text')).toBe('before')
})

test('its statements are refused in a batch that would not carry the session', async () => {
  const error = await rejectionOf(plain().batch([edit(opened())]))
  expect(error).toMatchObject({ code: 'DATABASE_ERROR' })
  expect(await textNow()).toBe('before')
  // In the other direction, the batch carries it.
  await opened().batch([edit(plain())])
  expect(await textNow()).toBe('after')
})
