import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { changePassword, logIn, requestPasswordReset, resetPassword } from '../../../src/app/accounts/accounts.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'

const SECOND = 1_000
const DAY = 86_400 * SECOND
const FREE = 5
const WRONG = 'not this pass phrase'

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

/** `in`, or the error's code, or the seconds to wait. */
type Outcome = 'in' | string | number

async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    await work
    return 'in'
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    return error.code === 'RATE_LIMITED' ? error.retryAfterSeconds! : error.code
  }
}

const guess = (world: World, login: string, password = WRONG): Promise<Outcome> =>
  outcomeOf(logIn(world.isolate().tiers, { login, password }, anyClient, null))

async function guesses(world: World, login: string, count: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (let number = 0; number < count; number++) outcomes.push(await guess(world, login))
  return outcomes
}

const checked = (count: number): Outcome[] => Array(count).fill('WRONG_CREDENTIALS')

describe.each([
  ['a known e-mail address', ({ email }: Member) => email],
  ['a known handle', ({ handle }: Member) => handle],
  ['an unknown e-mail address', () => 'nobody@example.com'],
  ['an unknown handle', () => 'nobody_here'],
])('guesses at %s', (_name, loginOf) => {
  test('five are checked at once; each further one doubles the wait, up to 15 minutes', async () => {
    const { world, ada } = await setUp()
    const login = loginOf(ada)
    expect(await guesses(world, login, FREE)).toEqual(checked(FREE))
    const waits: Outcome[] = []
    for (let number = 0; number < 12; number++) {
      const wait = await guess(world, login)
      waits.push(wait)
      world.clock.advance(Number(wait) * SECOND - 1)
      expect(await guess(world, login), 'a millisecond too early').toBe(1)
      world.clock.advance(1)
      expect(await guess(world, login)).toBe('WRONG_CREDENTIALS')
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])
  })

  test('50 concurrent ones in 50 isolates: five are checked; after the wait, one of 50 is', async () => {
    const { world, ada } = await setUp()
    const login = loginOf(ada)
    const burst = () => Promise.all(Array.from({ length: 50 }, () => guess(world, login)))
    expect((await burst()).filter((outcome) => outcome === 'WRONG_CREDENTIALS')).toHaveLength(FREE)
    world.clock.advance(SECOND)
    expect((await burst()).filter((outcome) => outcome === 'WRONG_CREDENTIALS')).toHaveLength(1)
  })
})

describe('the right password', () => {
  test('is refused during the wait without a check, works at its end, and forgets the attempts', async () => {
    const { world, ada } = await setUp()
    await guesses(world, ada.email, FREE)
    expect(await guess(world, ada.email, ada.password)).toBe(1)
    world.clock.advance(SECOND)
    expect(await guess(world, ada.email, ada.password)).toBe('in')
    expect(await rows('password_attempts')).toEqual([])
    expect(await guesses(world, ada.email, FREE)).toEqual(checked(FREE))
  })

  test('waits at most 15 minutes, whatever an attacker does', async () => {
    const { world, ada } = await setUp()
    for (let number = 0; number < 40; number++) {
      const outcome = await guess(world, ada.email)
      if (typeof outcome === 'number') world.clock.advance(outcome * SECOND)
    }
    expect(await guess(world, ada.email), 'the attacker comes first').toBe('WRONG_CREDENTIALS')
    const wait = await guess(world, ada.email, ada.password)
    expect(wait).toBe(900)
    world.clock.advance(Number(wait) * SECOND)
    expect(await guess(world, ada.email, ada.password)).toBe('in')
  })

  test('works again a day after the last attempt, as if there had been none', async () => {
    const { world, ada } = await setUp()
    await guesses(world, ada.email, FREE)
    world.clock.advance(DAY)
    expect(await guesses(world, ada.email, FREE)).toEqual(checked(FREE))
    expect(await guess(world, ada.email)).toBe(1)
  })

  test('in a log-in that is repeated with its key after a lost answer forgets the attempts, too', async () => {
    const { world, ada } = await setUp()
    const retry = { key: 'key', request: 'one' }
    const enter = (isolate = world.isolate()) =>
      outcomeOf(logIn(isolate.tiers, { login: ada.email, password: ada.password }, anyClient, retry))
    const losing = world.isolate()
    losing.loseAnswerOf('accounts.log-in')
    expect(await enter(losing)).toBe('OUTCOME_UNKNOWN')
    for (let tries = 0; tries < FREE + 1; tries++) expect(await enter()).toBe('in')
    expect(await rows('password_attempts')).toEqual([])
  })
})

test('an attacker who uses every free moment has 109 guesses on the first day, and 96 on the second', async () => {
  const { world, ada } = await setUp()
  const perDay = [0, 0]
  const startedAt = world.clock.now()
  for (;;) {
    const day = Math.floor((world.clock.now() - startedAt) / DAY)
    if (day === perDay.length) break
    const outcome = await guess(world, ada.email)
    if (typeof outcome === 'number') world.clock.advance(outcome * SECOND)
    else perDay[day]!++
  }
  expect(perDay).toEqual([109, 96])
})

test('guesses at the handle do not slow down the e-mail address, so they do not show whose it is', async () => {
  const { world, ada } = await setUp()
  await guesses(world, ada.handle, FREE)
  expect(await guess(world, ada.handle)).toBe(1)
  expect(await guess(world, ada.email)).toBe('WRONG_CREDENTIALS')
})

test('a log-in by the handle forgets no attempts at the e-mail address, so it does not show whose it is', async () => {
  const { world, ada } = await setUp()
  await guesses(world, ada.email, FREE)
  const retry = { key: 'key', request: 'one' }
  for (let number = 0; number < 2; number++) {
    const entered = logIn(world.isolate().tiers, { login: ada.handle, password: ada.password }, anyClient, retry)
    expect(await outcomeOf(entered)).toBe('in')
    expect(await guess(world, ada.email)).toBe(1)
    expect((await rows('password_attempts')).map(({ attempts }) => attempts)).toEqual([FREE])
  }
})

test('spaces and capitals are the same login', async () => {
  const { world, ada } = await setUp()
  await guesses(world, ada.email, FREE)
  expect(await guess(world, ` ${ada.email.toUpperCase()} `)).toBe(1)
})

test.each([1, FREE])('attempt %i, whose answer was lost, is sent again, and counts once', async (number) => {
  const { world, ada } = await setUp()
  await guesses(world, ada.email, number - 1)
  const losing = world.isolate()
  losing.loseAnswerOf('accounts.attempt-log-in')
  expect(await outcomeOf(logIn(losing.tiers, { login: ada.email, password: WRONG }, anyClient, null))).toBe(
    'WRONG_CREDENTIALS',
  )
  expect((await rows('password_attempts')).map(({ attempts }) => attempts)).toEqual([number])
})

test('a counter does not contain the login, because it may be a password in the wrong field', async () => {
  const { world } = await setUp()
  await guess(world, 'a pass phrase of mine')
  const [row] = await rows('password_attempts')
  expect(row!.id).toMatch(/^[0-9a-f]{4}\.nobody\.[A-Za-z0-9_-]{43}$/)
})

test('an unknown login is counted in a slot of its own, which its claim does not show', async () => {
  const { world } = await setUp()
  const handles = Array.from({ length: 20 }, (_, number) => `nobody_${number}`)
  for (const handle of handles) expect(await guesses(world, handle, 2)).toEqual(checked(2))
  const counters = await rows('password_attempts')
  expect(counters.map(({ attempts }) => attempts)).toEqual(handles.map(() => 2))
  const claimSlots = new Set(handles.map((handle) => slotOf(claimKey({ kind: 'handle', value: handle }))))
  const slots = counters.map(({ id }) => slotOf(String(id)))
  expect(slots.filter((slot) => claimSlots.has(slot))).toEqual([])
  expect(new Set(slots.map((slot) => slot < '8000')), 'both halves of the slots').toEqual(new Set([true, false]))
})

describe('the current password, in a change of the password', () => {
  const change = (world: World, { session }: Member, current: string) =>
    outcomeOf(
      changePassword(world.isolate().tiers, session, { current, next: 'another pass phrase' }, anyClient.origin, false),
    )

  test('is guessed as slowly as in a log-in; neither counter touches the other', async () => {
    const { world, ada } = await setUp()
    const burst = await Promise.all(Array.from({ length: 50 }, () => change(world, ada, WRONG)))
    expect(burst.filter((outcome) => outcome === 'WRONG_CREDENTIALS')).toHaveLength(FREE)
    expect(await change(world, ada, ada.password)).toBe(1)
    expect(await guess(world, ada.email)).toBe('WRONG_CREDENTIALS')
    world.clock.advance(SECOND)
    expect(await change(world, ada, ada.password)).toBe('in')
    expect(await rows('password_attempts'), 'a new password starts without attempts').toEqual([])
  })

  test('is not checked for a session that has ended', async () => {
    const { world, ada } = await setUp()
    await world.isolate().tiers.sessions.end(ada.session, ada.session.id)
    expect(await change(world, ada, ada.password)).toBe('SESSION_ENDED')
    expect(await rows('password_attempts')).toEqual([])
  })
})

test('while an attacker guesses, a reset link works, and its new password logs in at once', async () => {
  const { world, ada } = await setUp()
  for (let number = 0; number < 12; number++) {
    const outcome = await guess(world, ada.email)
    if (typeof outcome === 'number') world.clock.advance(outcome * SECOND)
  }
  const isolate = world.isolate()
  await requestPasswordReset(isolate.tiers, ada.email, 'http://localhost', null)
  await isolate.afterResponse()
  const token = /reset-password\/(\S+)/.exec(world.mails.at(-1)!.text)![1]!
  await resetPassword(world.isolate().tiers, token, 'another pass phrase', anyClient.origin, null)
  expect(await guess(world, ada.email, 'another pass phrase')).toBe('in')
})
