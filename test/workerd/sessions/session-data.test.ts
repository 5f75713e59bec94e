import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { logIn } from '../../../src/app/accounts/accounts.ts'
import type { SessionDataChange } from '../../../src/sessions/session-data.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'
import { World } from '../../support/tiers.ts'

const BYTES_MAX = 4_096

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

/** Reads and writes in a new isolate each time, as a request at another server does. */
const read = (world: World, { session }: Member) => world.isolate().tiers.sessions.readData(session)
const write = (world: World, { session }: Member, change: SessionDataChange) =>
  world.isolate().tiers.sessions.writeData(session, change)

/** A text whose bag `{"text":"…"}` has this many bytes. */
const textFor = (bytes: number) => 'a'.repeat(bytes - '{"text":""}'.length)

describe('the data of a session', () => {
  test('is empty at first; another server reads at once what one wrote', async () => {
    const { world, ada } = await setUp()
    expect(await read(world, ada)).toEqual({})
    await write(world, ada, { cart: [{ book: 7, gift: null }], theme: 'dark' })
    expect(await read(world, ada)).toEqual({ cart: [{ book: 7, gift: null }], theme: 'dark' })
  })

  test('a change replaces the keys that it names whole, removes those it sets to null, and keeps the others', async () => {
    const { world, ada } = await setUp()
    await write(world, ada, { one: { a: 1 }, two: 2, three: 3 })
    await write(world, ada, { one: { b: 2 }, two: null })
    expect(await read(world, ada)).toEqual({ one: { b: 2 }, three: 3 })
  })

  test('two tabs that change different keys at the same time both have their effect', async () => {
    const { world, ada } = await setUp()
    await Promise.all(Array.from({ length: 8 }, (_, n) => write(world, ada, { [`key${n}`]: n })))
    expect(Object.keys(await read(world, ada))).toHaveLength(8)
  })

  test('belongs to one session, and a log-out deletes it with the row', async () => {
    const { world, ada } = await setUp()
    await write(world, ada, { draft: 'of the first' })
    const { tiers } = world.isolate()
    const { token } = await logIn(tiers, { login: ada.email, password: ada.password }, anyClient, null)
    const other = { ...ada, session: { id: token.split('.')[1]!, userId: ada.userId } }
    expect(await read(world, other)).toEqual({})
    await tiers.sessions.end(other.session, ada.session.id)
    expect((await rows('sessions')).map(({ data }) => data)).toEqual(['{}'])
    expect(await rejectionOf(read(world, ada))).toMatchObject({ code: 'SESSION_ENDED' })
  })

  test('is text as it was given: quotes, line breaks, and characters of four bytes', async () => {
    const { world, ada } = await setUp()
    const text = '"it\'s"\n\\ $.x \u0000 👩‍🌾 ﷽'
    await write(world, ada, { text })
    expect(await read(world, ada)).toEqual({ text })
  })

  test('costs an exact read only for a request that asks for it, and one call for a change', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    await isolate.tiers.sessions.authenticate(ada.token, ada.stamp)
    expect(isolate.calls).toEqual([])
    await isolate.tiers.sessions.readData(ada.session)
    await isolate.tiers.sessions.writeData(ada.session, { a: 1 })
    expect(isolate.calls.map(({ operation, kind }) => `${operation} ${kind}`)).toEqual([
      'sessions.read-data exact-read',
      'sessions.write-data write',
    ])
  })
})

describe('a change of the data', () => {
  test('of a session that has ended is refused, and changes nothing', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('sessions.write-data', 'before', () =>
      world.isolate().tiers.sessions.end(ada.session, ada.session.id),
    )
    const late = isolate.tiers.sessions.writeData(ada.session, { a: 1 })
    expect(await rejectionOf(late)).toMatchObject({ code: 'SESSION_ENDED' })
  })

  test('of a session that has expired is refused, although its row still exists', async () => {
    const { world, ada } = await setUp()
    world.clock.advance(14 * 86_400_000)
    expect(await rejectionOf(write(world, ada, { a: 1 }))).toMatchObject({ code: 'SESSION_ENDED' })
    expect(await rejectionOf(read(world, ada))).toMatchObject({ code: 'SESSION_ENDED' })
    expect((await rows('sessions')).map(({ data }) => data)).toEqual(['{}'])
  })

  test('whose answer is lost is sent again', async () => {
    const { world, ada } = await setUp()
    const losing = world.isolate()
    losing.loseAnswerOf('sessions.write-data')
    await losing.tiers.sessions.writeData(ada.session, { a: 1 })
    expect(await read(world, ada)).toEqual({ a: 1 })
  })

  test.each([
    ['4,096 bytes', textFor(BYTES_MAX), true],
    ['4,097 bytes', textFor(BYTES_MAX + 1), false],
    ['4,096 bytes in characters of four', `${textFor(BYTES_MAX).slice(4)}👩`, true],
    ['4,097 bytes in characters of four', `${textFor(BYTES_MAX + 1).slice(4)}👩`, false],
  ])('to %s of JSON: kept %5$s', async (_name, text, isKept) => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    const outcome = isolate.tiers.sessions.writeData(ada.session, { text })
    if (isKept) await outcome
    else expect(await rejectionOf(outcome)).toMatchObject({ code: 'SESSION_DATA_TOO_LARGE', status: 422 })
    expect(isolate.calls, 'it is measured before any query').toHaveLength(isKept ? 1 : 0)
    expect(await read(world, ada)).toEqual(isKept ? { text } : {})
  })

  test('that does not fit beside the other keys is refused, and keeps what was stored', async () => {
    const { world, ada } = await setUp()
    await write(world, ada, { other: 'a'.repeat(2_000) })
    const tooMuch = write(world, ada, { text: 'a'.repeat(2_100) })
    expect(await rejectionOf(tooMuch)).toMatchObject({ code: 'SESSION_DATA_TOO_LARGE' })
    expect(await read(world, ada)).toEqual({ other: 'a'.repeat(2_000) })
    await write(world, ada, { text: 'a'.repeat(2_100), other: null })
    expect(await read(world, ada)).toEqual({ text: 'a'.repeat(2_100) })
  })

  test('of two tabs that together exceed the limit: one is refused', async () => {
    const { world, ada } = await setUp()
    const outcomes = await Promise.allSettled(
      ['one', 'two'].map((key) => write(world, ada, { [key]: 'a'.repeat(2_500) })),
    )
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test.each(['', 'a.b', '$', 'a"b', '1a', 'ä'])('with the key %j is a bug of its noun', async (key) => {
    const { world, ada } = await setUp()
    await expect(write(world, ada, { [key]: 1 })).rejects.toThrow(/key of session data/)
  })

  test('has at most ten keys', async () => {
    const { world, ada } = await setUp()
    const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, n]))
    await write(world, ada, keys(10))
    await write(world, ada, Object.fromEntries(Object.keys(keys(10)).map((key) => [key, null])))
    expect(await read(world, ada)).toEqual({})
    await expect(write(world, ada, keys(11))).rejects.toThrow(/at most 10 keys/)
  })
})
