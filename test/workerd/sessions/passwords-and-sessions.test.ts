import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import {
  changePassword,
  logIn,
  requestPasswordReset,
  requestVerification,
  resetPassword,
  verifyEmail,
} from '../../../src/app/accounts/accounts.ts'
import { mailToken } from '../../../src/app/accounts/mail-tokens.ts'
import { hashPassword } from '../../../src/app/accounts/passwords.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { emptyShards, everything, rowCounts, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

const NEXT = 'another pass phrase'
const ORIGIN = 'http://localhost'
const MINUTE = 60_000

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

/** The error's code, or the result. */
const outcomeOf = <T>(promise: Promise<T>): Promise<T | string> =>
  promise.catch((error) => {
    if (error instanceof BanyanError) return error.code
    throw error
  })

const enter = ({ tiers }: TestIsolate, login: string, password: string, key: string | null = null) =>
  outcomeOf(
    logIn(tiers, { login, password }, anyClient, key === null ? null : { key, request: `${login} ${password}` }),
  )

const isIn = async (world: World, token: string) =>
  (await world.isolate().tiers.sessions.authenticate(token, null)).session !== null

const change = (isolate: TestIsolate, { session, password }: Member, next = NEXT) =>
  outcomeOf(changePassword(isolate.tiers, session, { current: password, next }, anyClient.origin, false))

/** Requests a reset and returns the mailed token. */
async function resetToken(world: World, { email }: Member): Promise<string> {
  const isolate = world.isolate()
  await requestPasswordReset(isolate.tiers, email, ORIGIN, null)
  await isolate.afterResponse()
  return world.mails.at(-1)!.text.match(/reset-password\/(\S+)/)![1]!
}

async function tokenOf(answer: Awaited<ReturnType<typeof enter>>): Promise<string> {
  if (typeof answer === 'string') throw new Error(`it did not log in: ${answer}`)
  return answer.token
}

describe('log-in', () => {
  test.each([
    ['by e-mail', (ada: Member) => ` ${ada.email.toUpperCase()} `],
    ['by handle', (ada: Member) => ada.handle.toUpperCase()],
  ])('%s', async (_name, login) => {
    const { world, ada } = await setUp()
    const token = await tokenOf(await enter(world.isolate(), login(ada), ada.password))
    expect(await isIn(world, token)).toBe(true)
    expect(await enter(world.isolate(), login(ada), NEXT)).toBe('WRONG_CREDENTIALS')
    expect(await rows('sessions')).toHaveLength(2)
  })

  const between: [string, (world: World, ada: Member) => Promise<unknown>][] = [
    ['changed', (world, ada) => change(world.isolate(), ada)],
    [
      'reset',
      async (world, ada) =>
        resetPassword(world.isolate().tiers, await resetToken(world, ada), NEXT, anyClient.origin, null),
    ],
  ]

  test.each(between)(
    'the password is %s between its check and the session’s insert: 401, and no session',
    async (_name, alter) => {
      const { world, ada } = await setUp()
      const isolate = world.isolate()
      let left: unknown
      isolate.meanwhile('accounts.log-in', 'before', async () => {
        await alter(world, ada)
        left = await rows('sessions')
      })
      expect(await enter(isolate, ada.email, ada.password)).toBe('WRONG_CREDENTIALS')
      expect(await rows('sessions')).toEqual(left)
    },
  )

  test('the hundred-and-first session ends the oldest one', async () => {
    const { world, ada } = await setUp()
    await runEverywhere(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
       INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at)
       SELECT substr(id, 1, 27) || printf('u%02d', i), user_id, '', '', '', created_at + i, 0, idle_at, expires_at
       FROM sessions, n`,
    )
    world.clock.advance(MINUTE)
    const before = await rows('sessions')
    const token = await tokenOf(await enter(world.isolate(), ada.email, ada.password))
    const after = (await rows('sessions')).map(({ id }) => id)
    expect(after.toSorted()).toEqual(
      [...before.map(({ id }) => id).filter((id) => id !== ada.session.id), token.split('.')[1]].toSorted(),
    )
  })

  test('a hash of another cost is replaced at log-in, and the password keeps its version', async () => {
    const { world, ada } = await setUp()
    const [account] = await rows('accounts')
    const old = await hashPassword(ada.password, world.isolate().tiers.random, { ln: 2, r: 1, p: 1 })
    await runEverywhere('UPDATE accounts SET password_hash = ?', old)
    const isolate = world.isolate()
    await tokenOf(await enter(isolate, ada.email, ada.password))
    await isolate.settled()
    const [now] = await rows('accounts')
    expect(now).toEqual({ ...account, password_hash: expect.stringMatching(/^\$scrypt\$ln=1,r=1,p=1\$/) })
    await tokenOf(await enter(world.isolate(), ada.email, ada.password))
  })
})

describe('a retried log-in', () => {
  test('gets a token of the same session; the first token keeps working', async () => {
    const { world, ada } = await setUp()
    const first = await tokenOf(await enter(world.isolate(), ada.email, ada.password, 'key'))
    const again = await tokenOf(await enter(world.isolate(), ada.email, ada.password, 'key'))
    expect(again).not.toBe(first)
    expect(again.split('.').slice(0, 2)).toEqual(first.split('.').slice(0, 2))
    expect(await rows('sessions')).toHaveLength(2)
    world.kv.arrive()
    expect([await isIn(world, first), await isIn(world, again)]).toEqual([true, true])
  })

  test.each([
    [
      'two concurrent requests',
      async (world: World, ada: Member) =>
        Promise.all([1, 2].map(() => enter(world.isolate(), ada.email, ada.password, 'key'))),
    ],
    [
      'after its answer was lost',
      async (world: World, ada: Member) => {
        const losing = world.isolate()
        losing.loseAnswerOf('accounts.log-in')
        expect(await enter(losing, ada.email, ada.password, 'key')).toBe('OUTCOME_UNKNOWN')
        return [await enter(world.isolate(), ada.email, ada.password, 'key')]
      },
    ],
  ])('%s: one session', async (_name, run) => {
    const { world, ada } = await setUp()
    for (const answer of await run(world, ada)) expect(await isIn(world, await tokenOf(answer))).toBe(true)
    expect(await rows('sessions')).toHaveLength(2)
  })

  test('with another body is 422; the same key of another user is separate; after 24 h the key is free', async () => {
    const { world, ada } = await setUp()
    const eve = await member(world)
    const first = await tokenOf(await enter(world.isolate(), ada.email, ada.password, 'key'))
    expect(await enter(world.isolate(), ada.handle, ada.password, 'key')).toBe('IDEMPOTENCY_KEY_REUSED')
    await tokenOf(await enter(world.isolate(), eve.email, eve.password, 'key'))
    world.clock.advance(24 * 60 * MINUTE)
    const later = await tokenOf(await enter(world.isolate(), ada.handle, ada.password, 'key'))
    expect(later.split('.')[1]).not.toBe(first.split('.')[1])
    expect(await rows('sessions')).toHaveLength(5) // the user's: sign-up's, first, later; the other's: sign-up's, one
  })

  test('whose session has ended in the meantime starts none', async () => {
    const { world, ada } = await setUp()
    const token = await tokenOf(await enter(world.isolate(), ada.email, ada.password, 'key'))
    await world.isolate().tiers.sessions.end(ada.session, token.split('.')[1]!)
    expect(await enter(world.isolate(), ada.email, ada.password, 'key')).toBe('SESSION_ENDED')
    expect(await rows('sessions')).toHaveLength(1)
  })
})

describe('a new password', () => {
  test('that is set with the current password ends all other sessions and keeps this one', async () => {
    const { world, ada } = await setUp()
    const others = [
      await enter(world.isolate(), ada.email, ada.password),
      await enter(world.isolate(), ada.handle, ada.password),
    ]
    expect(await change(world.isolate(), ada)).toBeNull()
    expect((await rows('sessions')).map(({ id }) => id)).toEqual([ada.session.id])
    expect(await isIn(world, ada.token)).toBe(true)
    for (const other of others) expect(await isIn(world, await tokenOf(other))).toBe(false)
    expect(await enter(world.isolate(), ada.email, ada.password)).toBe('WRONG_CREDENTIALS')
    await tokenOf(await enter(world.isolate(), ada.email, NEXT))
  })

  test('with a wrong current one changes nothing, and counts the attempt', async () => {
    const { world, ada } = await setUp()
    const before = await everything()
    expect(await change(world.isolate(), { ...ada, password: NEXT })).toBe('WRONG_CREDENTIALS')
    expect(await everything()).toEqual({ ...before, password_attempts: [expect.objectContaining({ attempts: 1 })] })
  })

  test('set twice at once: one request is refused, and ends no session', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('accounts.change-password', 'before', () => change(world.isolate(), ada, NEXT))
    expect(await change(isolate, ada, 'a third pass phrase')).toBe('CONFLICT')
    await tokenOf(await enter(world.isolate(), ada.email, NEXT))
    expect(await enter(world.isolate(), ada.email, 'a third pass phrase')).toBe('WRONG_CREDENTIALS')
    expect(await isIn(world, ada.token)).toBe(true)
  })

  test('set by a mailed token ends all sessions; each token works once', async () => {
    const { world, ada } = await setUp()
    const older = await resetToken(world, ada)
    const token = await resetToken(world, ada)
    await enter(world.isolate(), ada.email, ada.password)
    await resetPassword(world.isolate().tiers, token, NEXT, anyClient.origin, null)
    expect(await rows('sessions')).toEqual([])
    expect(await isIn(world, ada.token)).toBe(false)
    for (const used of [token, older])
      expect(
        await outcomeOf(resetPassword(world.isolate().tiers, used, 'a third pass phrase', anyClient.origin, null)),
      ).toBe('NOT_FOUND')
    await tokenOf(await enter(world.isolate(), ada.email, NEXT))
  })

  test('one token in two concurrent requests sets one password', async () => {
    const { world, ada } = await setUp()
    const token = await resetToken(world, ada)
    const slow = world.isolate()
    const hold = slow.holdAt('accounts.reset-password', 'after') // its read; the batch comes later
    const refused = outcomeOf(resetPassword(slow.tiers, token, 'a third pass phrase', anyClient.origin, null))
    await hold.reached
    await resetPassword(world.isolate().tiers, token, NEXT, anyClient.origin, null)
    const began = await tokenOf(await enter(world.isolate(), ada.email, NEXT))
    hold.letGo()
    expect(await refused).toBe('CONFLICT')
    expect(await isIn(world, began)).toBe(true)
  })

  test('a retry with its key gets the first answer; the same key with another token is separate', async () => {
    const { world, ada } = await setUp()
    const token = await resetToken(world, ada)
    const retry = { key: 'key', request: 'one' }
    const losing = world.isolate()
    await resetPassword(losing.tiers, token, NEXT, anyClient.origin, retry)
    expect(await outcomeOf(resetPassword(world.isolate().tiers, token, NEXT, anyClient.origin, retry))).toBeUndefined()
    expect((await rows('accounts')).map((row) => row.password_version)).toEqual([2])
    const request = { ...retry, request: 'two' }
    expect(await outcomeOf(resetPassword(world.isolate().tiers, token, NEXT, anyClient.origin, request))).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    )
  })

  const unfit: [string, (token: string, ada: Member, world: World) => string][] = [
    [
      'after an hour',
      (token, _ada, world) => {
        world.clock.advance(60 * MINUTE)
        return token
      },
    ],
    ['with another secret', (token) => `${token.slice(0, -4)}AAAA`],
    [
      'of the other purpose',
      (token) => mailToken('a key of at least 32 characters, for tests only', 'verify-email', token.split('.')[0]!),
    ],
    ['that is malformed', () => 'x.y'],
  ]
  test.each(unfit)('a reset token %s sets nothing', async (_name, spoil) => {
    const { world, ada } = await setUp()
    const token = spoil(await resetToken(world, ada), ada, world)
    expect(await outcomeOf(resetPassword(world.isolate().tiers, token, NEXT, anyClient.origin, null))).toBe('NOT_FOUND')
    expect((await rows('accounts')).map((row) => row.password_version)).toEqual([1])
  })

  test('a reset for an unknown address writes nothing and sends no mail', async () => {
    const { world } = await setUp()
    const before = await everything()
    await requestPasswordReset(world.isolate().tiers, 'nobody@example.com', ORIGIN, null)
    expect(await everything()).toEqual(before)
    expect(world.mails).toHaveLength(1)
  })
})

describe('a confirmed address', () => {
  const verificationToken = (world: World) => world.mails.at(-1)!.text.match(/verify-email\/(\S+)/)![1]!

  test('is confirmed once by its token, and a retry with the idempotency key gets the first answer', async () => {
    const { world } = await setUp()
    const token = verificationToken(world)
    const retry = { key: 'key', request: 'one' }
    const losing = world.isolate()
    losing.loseAnswerOf('accounts.verify-email')
    expect(await outcomeOf(verifyEmail(losing.tiers, token, retry))).toBe('OUTCOME_UNKNOWN')
    expect(await outcomeOf(verifyEmail(world.isolate().tiers, token, retry))).toBeUndefined()
    expect(await outcomeOf(verifyEmail(world.isolate().tiers, token, null))).toBe('NOT_FOUND')
    const [account] = await rows('accounts')
    expect(account!.email_verified_at).toBe(world.clock.now())
    expect((await rowCounts()).mail_tokens).toBeUndefined()
  })

  test('is not mailed again by a request for verification', async () => {
    const { world, ada } = await setUp()
    await verifyEmail(world.isolate().tiers, verificationToken(world), null)
    const isolate = world.isolate()
    await requestVerification(isolate.tiers, ada.session, ORIGIN, null)
    await isolate.afterResponse()
    expect(world.mails).toHaveLength(1)
    const { mail_tokens, outbox } = await rowCounts()
    expect([mail_tokens, outbox]).toEqual([undefined, undefined])
  })

  test('an unconfirmed address is mailed again, once per key', async () => {
    const { world, ada } = await setUp()
    for (let tries = 0; tries < 2; tries++) {
      const isolate = world.isolate()
      await requestVerification(isolate.tiers, ada.session, ORIGIN, { key: 'key', request: 'one' })
      await isolate.afterResponse()
    }
    expect(world.mails.map(({ to }) => to)).toEqual([ada.email, ada.email])
  })
})

describe('the list of the user’s sessions', () => {
  test('shows the user’s own and marks the current one; end-others keeps that one', async () => {
    const { world, ada } = await setUp()
    await member(world)
    world.clock.advance(1)
    const other = (await tokenOf(await enter(world.isolate(), ada.email, ada.password))).split('.')[1]!
    const { sessions } = world.isolate().tiers
    expect((await sessions.list(ada.session)).map(({ id, current }) => [id, current])).toEqual([
      [other, false],
      [ada.session.id, true],
    ])
    await sessions.endOthers(ada.session)
    expect((await sessions.list(ada.session)).map(({ id }) => id)).toEqual([ada.session.id])
    expect((await rows('sessions')).length).toBe(2) // the user's, and another user's
  })

  test('another user’s session cannot be ended', async () => {
    const { world, ada } = await setUp()
    const eve = await member(world)
    expect(await world.isolate().tiers.sessions.end(eve.session, ada.session.id)).toBe(false)
    expect(await isIn(world, ada.token)).toBe(true)
  })
})
