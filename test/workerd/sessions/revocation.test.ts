import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { changePassword, logIn, requestPasswordReset, resetPassword } from '../../../src/app/accounts/accounts.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { slotOf } from '../../../src/core/ids.ts'
import type { Session } from '../../../src/sessions/sessions.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { drive, once, planMove, settleNow } from '../../support/moving.ts'
import { writeRow } from '../../support/session-writes.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

// INV-6: from the moment a revocation commits, no write with that session is accepted, and it reads for at most 60 s.

const SECOND = 1_000
const NEXT = 'another pass phrase'

/** Times after the commit, in ms, at which every isolate tries to read and to write with the ended session. */
const TRIES_AT = [0, 0.001, 30, 59.999, 60, 61, 119, 121, 181, 600, 86_400].map((seconds) => seconds * SECOND)

/** The move of a test. Until it is over, its source still has the rows. */
let moveId: string | null = null

beforeEach(emptyShards)
afterEach(async () => {
  if (moveId === null) return
  await settleNow(moveId)
  expect((await drive(moveId)).state).toBe('done')
  moveId = null
})

/** The session that is revoked, and another one of the same user. */
interface Victim {
  world: World
  ada: Member
  other: Session
  resetToken: string
  revokedAt: number
}

type Revoke = (isolate: TestIsolate, victim: Victim) => Promise<unknown>

const revocations: [string, Revoke][] = [
  ['log-out', ({ tiers }, { ada }) => tiers.sessions.end(ada.session, ada.session.id)],
  ['sign out others', ({ tiers }, { other }) => tiers.sessions.endOthers(other)],
  [
    'password change',
    ({ tiers }, { ada, other }) =>
      changePassword(tiers, other, { current: ada.password, next: NEXT }, anyClient.origin, true),
  ],
  ['reset', ({ tiers }, { resetToken }) => resetPassword(tiers, resetToken, NEXT, anyClient.origin, null)],
]

async function setUp(): Promise<Victim> {
  const world = new World()
  const ada = await member(world)
  const isolate = world.isolate()
  const { token } = await logIn(isolate.tiers, { login: ada.email, password: ada.password }, anyClient, null)
  await requestPasswordReset(isolate.tiers, ada.email, 'http://localhost', null)
  await isolate.afterResponse()
  const resetToken = /reset-password\/(\S+)/.exec(world.mails.at(-1)!.text)![1]!
  world.kv.arrive()
  world.clock.advance(2 * SECOND) // KV takes one write per second and key
  return { world, ada, other: { id: token.split('.')[1]!, userId: ada.userId }, resetToken, revokedAt: 0 }
}

interface Tried {
  writes: number
  readsAt: number[]
}

/**
 * Tries to read and to write at all times, in the given isolates and in new ones, with the browser's newest stamp and
 * without one.
 */
async function tryAll({ world, ada, revokedAt }: Victim, isolates: TestIsolate[]): Promise<Tried> {
  const tried: Tried = { writes: 0, readsAt: [] }
  let { stamp } = ada
  const startedAt = world.clock.now() - revokedAt
  for (const at of TRIES_AT.filter((ms) => ms >= startedAt)) {
    world.clock.advance(revokedAt + at - world.clock.now())
    for (const isolate of [...isolates, world.isolate()])
      for (const sent of [stamp, null]) {
        const answer = await isolate.tiers.sessions.authenticate(ada.token, sent)
        if (answer.session) tried.readsAt.push(at)
        stamp = answer.stamp ?? stamp
        if (await isWritten(isolate, ada.session)) tried.writes++
      }
    for (const isolate of isolates) await isolate.settled()
  }
  return tried
}

const isWritten = (isolate: TestIsolate, session: Session): Promise<boolean> =>
  writeRow(isolate.tiers, session, 'too late').then(
    () => true,
    (error) => {
      expect(error).toMatchObject({ code: 'SESSION_ENDED' })
      return false
    },
  )

/** An isolate that has seen the session live a moment ago. */
async function warmIsolate({ world, ada }: Victim): Promise<TestIsolate> {
  const isolate = world.isolate()
  expect((await isolate.tiers.sessions.authenticate(ada.token, ada.stamp)).session).toEqual(ada.session)
  expect((await isolate.tiers.sessions.authenticate(ada.token, null)).session).toEqual(ada.session)
  await isolate.settled()
  return isolate
}

async function revokeNow(victim: Victim, revoke: Revoke): Promise<void> {
  const isolate = victim.world.isolate()
  await revoke(isolate, victim)
  victim.revokedAt = victim.world.clock.now()
  await isolate.settled()
}

/** What happens while the session is revoked. Resolves to the isolates that then try to use it. */
type Condition = (victim: Victim, revoke: Revoke) => Promise<TestIsolate[]>

const conditions: [string, Condition][] = [
  [
    'KV delayed by 120 s',
    async (victim, revoke) => {
      const warm = await warmIsolate(victim)
      await revokeNow(victim, revoke)
      return [warm]
    },
  ],
  [
    'KV failing, so that it keeps the copy',
    async (victim, revoke) => {
      const warm = await warmIsolate(victim)
      victim.world.kv.isDown = true
      await revokeNow(victim, revoke)
      victim.world.kv.isDown = false
      return [warm]
    },
  ],
  [
    'a refresh under way, which then stores a copy',
    async (victim, revoke) => {
      const { world, ada } = victim
      const warm = await warmIsolate(victim)
      await world.kv.delete(`session:${ada.session.id}`)
      world.kv.arrive()
      world.clock.advance(2 * SECOND)
      const late = world.isolate()
      const hold = late.holdAt('sessions.check', 'after')
      const refreshing = late.tiers.sessions.authenticate(ada.token, null)
      await hold.reached
      await revokeNow(victim, revoke)
      world.clock.advance(2 * SECOND)
      hold.letGo()
      expect((await refreshing).session, 'it has read the row before the commit').toEqual(ada.session)
      await late.settled()
      world.kv.arrive()
      expect(await world.kv.get(`session:${ada.session.id}`), 'the copy is back').not.toBeNull()
      return [warm, late]
    },
  ],
  [
    'a log-in at that moment',
    async (victim, revoke) => {
      const { world, ada } = victim
      const warm = await warmIsolate(victim)
      const slow = world.isolate()
      const hold = slow.holdAt('accounts.log-in', 'before')
      const login = { login: ada.email, password: ada.password }
      const entering = logIn(slow.tiers, login, anyClient, null, ada.token).catch((error: unknown) => error)
      await hold.reached
      await revokeNow(victim, revoke)
      hold.letGo()
      await entering
      await slow.settled()
      return [warm, slow]
    },
  ],
  [
    'a move under way',
    async (victim, revoke) => {
      const { world, ada } = victim
      const warm = await warmIsolate(victim)
      const slot = slotOf(ada.userId)
      const target = Number.parseInt(slot, 16) < 32_768 ? 'shard-001' : 'shard-000'
      const { id } = await planMove('users', slot, target)
      moveId = id
      const move = await drive(
        id,
        once('copied', () => revokeNow(victim, revoke)),
      )
      // The target has the slot, and the rows of the source are still there.
      expect([move.state, victim.revokedAt]).toEqual(['settling', world.clock.now()])
      return [warm]
    },
  ],
]

describe.each(revocations)('%s', (name, revoke) => {
  test.each(conditions)('with %s: no write from the commit on, and no read after 60 s', async (condition, happens) => {
    const victim = await setUp()
    const isolates = await happens(victim, revoke)
    const tried = await tryAll(victim, isolates)
    expect(tried.writes).toBe(0)
    expect(tried.readsAt.filter((at) => at >= 60 * SECOND)).toEqual([])
    // The test would show nothing if no isolate had still accepted reads.
    expect(tried.readsAt, `${name}, ${condition}`).toContain(30 * SECOND)
    expect(await rows('posts')).toEqual([])
  })

  test('ends a log-in that committed before, unless only one session logs out; a later one is refused if the password changed', async () => {
    const victim = await setUp()
    const { world, ada } = victim
    const login = { login: ada.email, password: ada.password }
    const answered = world.isolate()
    const [before, after] = [answered.holdAt('accounts.log-in', 'after'), world.isolate()]
    const committed = logIn(answered.tiers, login, anyClient, null)
    await before.reached
    const hold = after.holdAt('accounts.log-in', 'before')
    const checked = logIn(after.tiers, login, anyClient, null).catch((error: unknown) => error)
    await hold.reached
    await revokeNow(victim, revoke)
    before.letGo()
    hold.letGo()
    const [early, late] = [await committed, await checked]
    const earlySession = { id: early.token.split('.')[1]!, userId: ada.userId }
    const isOneOnly = name === 'log-out'
    expect(await isLive(world, earlySession)).toBe(isOneOnly)
    const isRefused = late instanceof BanyanError && late.code === 'WRONG_CREDENTIALS'
    expect(isRefused).toBe(name === 'password change' || name === 'reset')
  })
})

const isLive = (world: World, session: Session): Promise<boolean> => isWritten(world.isolate(), session)
