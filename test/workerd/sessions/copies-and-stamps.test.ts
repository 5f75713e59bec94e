import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { sign } from '../../../src/core/digest.ts'
import { hasCode } from '../../../src/core/errors.ts'
import { type Member, member } from '../../support/members.ts'
import { writeRow } from '../../support/session-writes.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

const SECOND = 1_000
const DAY = 86_400_000
const SIGNING_KEY = (env as unknown as { SIGNING_KEY: string }).SIGNING_KEY

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  const ada = await member(world)
  world.kv.calls.length = 0
  return { world, ada }
}

const ask = async ({ tiers }: TestIsolate, token: string, stamp: string | null = null) =>
  tiers.sessions.authenticate(token, stamp)

/** The cost of one request: exact reads of the session's row, and KV reads. */
async function cost(world: World, isolate: TestIsolate, { token }: Member, stamp: string | null) {
  const before = { d1: isolate.calls.length, kv: world.kv.count('get') }
  const { session } = await ask(isolate, token, stamp)
  const calls = isolate.calls.slice(before.d1)
  return {
    isIn: session !== null,
    d1: calls.map(({ operation, kind }) => `${operation} ${kind}`),
    kv: world.kv.count('get') - before.kv,
  }
}

const noDatabase = { isIn: true, d1: [], kv: 1 }
const oneExactRead = { isIn: true, d1: ['sessions.check exact-read'], kv: 1 }

describe('what a request costs', () => {
  test.each([
    ['at once', 0, noDatabase],
    ['after 59.999 s', 60 * SECOND - 1, noDatabase],
    ['after 60 s', 60 * SECOND, oneExactRead],
    ['after ten minutes', 600 * SECOND, oneExactRead],
    [
      'after more than ten minutes, when it records the time',
      601 * SECOND,
      { ...oneExactRead, d1: [...oneExactRead.d1, 'sessions.seen write'] },
    ],
  ])('with a copy and a stamp, %s', async (_when, ms, expected) => {
    const { world, ada } = await setUp()
    world.clock.advance(ms)
    expect(await cost(world, world.isolate(), ada, ada.stamp)).toEqual(expected)
  })

  test('a browser’s new stamp saves every isolate a read for a minute; a Bearer client’s only the isolate that took it', async () => {
    const { world, ada } = await setUp()
    world.clock.advance(61 * SECOND)
    const [one, other] = [world.isolate(), world.isolate()]
    const { stamp } = await ask(one, ada.token, ada.stamp)
    world.clock.advance(59 * SECOND)
    expect(await cost(world, world.isolate(), ada, stamp)).toEqual(noDatabase)
    expect(await cost(world, one, ada, null)).toEqual(noDatabase)
    expect(await cost(world, other, ada, null)).toEqual(oneExactRead)
    expect(await cost(world, other, ada, null)).toEqual(noDatabase)
    world.clock.advance(SECOND)
    expect(await cost(world, one, ada, stamp)).toEqual(oneExactRead)
  })

  test('without a copy, the shard answers and KV is filled once', async () => {
    const { world, ada } = await setUp()
    await world.kv.delete(`session:${ada.session.id}`)
    world.kv.arrive()
    const isolate = world.isolate()
    expect(await cost(world, isolate, ada, ada.stamp)).toEqual(oneExactRead)
    await isolate.settled()
    expect(world.kv.count('put')).toBe(1)
  })

  test('if KV is down, every request is answered from the shard, and nothing is thrown', async () => {
    const { world, ada } = await setUp()
    world.kv.isDown = true
    const isolate = world.isolate()
    expect(await cost(world, isolate, ada, ada.stamp)).toEqual(oneExactRead)
    expect(await cost(world, isolate, ada, ada.stamp)).toEqual(oneExactRead)
    expect(await isolate.tiers.sessions.end(ada.session, ada.session.id)).toBe(true)
    await isolate.settled()
    expect((await ask(world.isolate(), ada.token, ada.stamp)).session).toBeNull()
  })

  test('two isolates write one key within a second: KV refuses the second, without any effect on a request', async () => {
    const { world, ada } = await setUp()
    await world.kv.delete(`session:${ada.session.id}`)
    world.kv.arrive()
    world.clock.advance(SECOND)
    const isolates = [world.isolate(), world.isolate()]
    for (const isolate of isolates) {
      expect((await ask(isolate, ada.token)).session).toEqual(ada.session)
      await isolate.settled()
    }
    expect(world.kv.count('put')).toBe(2)
    expect(world.logged.filter((line) => line.includes('429'))).toHaveLength(1)
  })
})

describe('a stamp counts only if Banyan signed it, for this session and within the last minute', () => {
  const stamps: [string, (ada: Member, eve: Member, now: number) => string][] = [
    ['of another session', (_ada, eve) => eve.stamp],
    ['with another signature', (ada) => `${ada.stamp.slice(0, -4)}AAAA`],
    [
      'signed with another key',
      (ada, _eve, now) => sign('x'.repeat(40), 'session-stamp', { id: ada.session.id, at: now }),
    ],
    ['signed for another purpose', (ada, _eve, now) => sign(SIGNING_KEY, 'causal', { id: ada.session.id, at: now })],
    ['from the future', (ada, _eve, now) => sign(SIGNING_KEY, 'session-stamp', { id: ada.session.id, at: now + 1 })],
    ['without a signature', (ada) => ada.stamp.split('.')[0]!],
    ['that is empty', () => ''],
    ['with an eternal time', (ada) => sign(SIGNING_KEY, 'session-stamp', { id: ada.session.id })],
  ]

  test.each(stamps)('a stamp %s does not save the read', async (_name, stamp) => {
    const { world, ada } = await setUp()
    const eve = await member(world)
    expect(await cost(world, world.isolate(), ada, stamp(ada, eve, world.clock.now()))).toEqual(oneExactRead)
  })
})

describe('a token', () => {
  test.each([
    ['with a copy', false],
    ['without a copy', true],
  ])('with the right ids and a wrong secret gives no session and stores no copy, %s', async (_name, isGone) => {
    const { world, ada } = await setUp()
    if (isGone) await world.kv.delete(`session:${ada.session.id}`)
    world.kv.arrive()
    const wrong = `${ada.userId}.${ada.session.id}.${'A'.repeat(43)}`
    const isolate = world.isolate()
    expect(await ask(isolate, wrong, ada.stamp)).toEqual({ session: null, stamp: null, ended: false })
    await isolate.settled()
    expect(world.kv.count('put')).toBe(0)
    expect((await ask(world.isolate(), ada.token, ada.stamp)).session).toEqual(ada.session)
  })

  test.each(['', 'a', 'a.b.c', `${'0'.repeat(30)}.${'0'.repeat(30)}.${'A'.repeat(43)}`])(
    'that is malformed (%s) costs no call',
    async (text) => {
      const { world } = await setUp()
      const isolate = world.isolate()
      expect((await ask(isolate, text)).session).toBeNull()
      expect([isolate.calls, world.kv.calls]).toEqual([[], []])
    },
  )
})

describe('after the revocation of a session', () => {
  test('another isolate can read for less than a minute after its stamp, and never after, even with a copy in KV', async () => {
    const { world, ada } = await setUp()
    await world.isolate().tiers.sessions.end(ada.session, ada.session.id)
    const elsewhere = world.isolate()
    const seen: [number, boolean][] = []
    for (const second of [0, 30, 59, 60, 61, 119, 121, 600]) {
      world.clock.time = Math.floor(world.clock.time)
      const { session } = await ask(elsewhere, ada.token, ada.stamp)
      seen.push([second, session !== null])
      const next = { 0: 30, 30: 29, 59: 1, 60: 1, 61: 58, 119: 2, 121: 479 }[second] ?? 0
      world.clock.advance(next * SECOND)
    }
    expect(seen.filter(([, isIn]) => isIn).map(([second]) => second)).toEqual([0, 30, 59])
  })

  test('a late write to KV, of a row read before the revocation, restores the copy but not the session', async () => {
    const { world, ada } = await setUp()
    await world.kv.delete(`session:${ada.session.id}`)
    world.kv.arrive()
    world.clock.advance(2 * SECOND)
    const late = world.isolate()
    const hold = late.holdAt('sessions.check', 'after')
    const answer = ask(late, ada.token)
    await hold.reached
    const revoker = world.isolate()
    await revoker.tiers.sessions.end(ada.session, ada.session.id)
    await revoker.settled()
    world.clock.advance(2 * SECOND)
    hold.letGo()
    const { stamp } = await answer
    await late.settled()
    world.kv.arrive()
    expect(await world.kv.get(`session:${ada.session.id}`), 'the copy that the late fill brought back').not.toBeNull()
    world.clock.advance(57 * SECOND + 999) // 59.999 s after the row was read
    expect((await ask(late, ada.token)).session).toEqual(ada.session)
    world.clock.advance(1)
    for (const isolate of [late, world.isolate()]) {
      expect((await ask(isolate, ada.token, stamp)).session).toBeNull()
      expect((await ask(isolate, ada.token, null)).session).toBeNull()
    }
  })

  test('its writes are refused at once, even with a fresh stamp and a copy', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    expect((await ask(isolate, ada.token, ada.stamp)).session).toEqual(ada.session)
    await world.isolate().tiers.sessions.end(ada.session, ada.session.id)
    expect((await ask(isolate, ada.token, ada.stamp)).session).toEqual(ada.session)
    const error = await rejectionOf(writeRow(isolate.tiers, ada.session, 'too late'))
    expect(hasCode(error, 'SESSION_ENDED')).toBe(true)
    expect(await rows('posts')).toEqual([])
  })

  test('a write in flight at the commit of the revocation is refused', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('rows.write', 'before', () => world.isolate().tiers.sessions.end(ada.session, ada.session.id))
    const error = await rejectionOf(writeRow(isolate.tiers, ada.session, 'too late'))
    expect(hasCode(error, 'SESSION_ENDED')).toBe(true)
    expect(await rows('posts')).toEqual([])
  })
})

describe('a session expires', () => {
  const write = ({ tiers }: TestIsolate, { session }: Member) =>
    writeRow(tiers, session, 'still here').then(
      () => 'written',
      (error: Error) => (hasCode(error, 'SESSION_ENDED') ? 'refused' : String(error)),
    )

  test.each([
    ['14 days unused, less a millisecond', 14 * DAY - 1, true],
    ['14 days unused', 14 * DAY, false],
  ])('%s', async (_name, ms, isIn) => {
    const { world, ada } = await setUp()
    world.clock.advance(ms)
    const isolate = world.isolate()
    expect(await write(isolate, ada)).toBe(isIn ? 'written' : 'refused')
    expect((await ask(isolate, ada.token, ada.stamp)).session !== null).toBe(isIn)
  })

  test('after 90 days, even if it is used', async () => {
    const { world, ada } = await setUp()
    for (let week = 0; week < 12; week++) {
      world.clock.advance(7 * DAY)
      const isolate = world.isolate()
      expect((await ask(isolate, ada.token)).session).toEqual(ada.session)
      await isolate.settled()
    }
    world.clock.advance(6 * DAY - 1)
    const last = await ask(world.isolate(), ada.token)
    expect(last.session).toEqual(ada.session)
    world.clock.advance(1)
    expect((await ask(world.isolate(), ada.token, last.stamp)).session).toBeNull()
    expect(await write(world.isolate(), ada)).toBe('refused')
  })

  test('an expired session is not listed', async () => {
    const { world, ada } = await setUp()
    await runEverywhere(
      'UPDATE sessions SET expires_at = ?, idle_at = ?',
      world.clock.now() + DAY,
      world.clock.now() + DAY,
    )
    world.clock.advance(DAY - SECOND)
    const used = world.isolate()
    await ask(used, ada.token)
    await used.settled() // seen: the idle time-out is extended, the absolute one is not
    const [row] = await rows('sessions')
    expect(row!.idle_at, 'when housekeeping may delete it').toBe(row!.expires_at)
    world.clock.advance(2 * SECOND)
    expect(await world.isolate().tiers.sessions.list(ada.session)).toEqual([])
  })
})
