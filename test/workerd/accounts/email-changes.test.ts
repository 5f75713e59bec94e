import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import {
  changePassword,
  logIn,
  requestPasswordReset,
  resetPassword,
  verifyEmail,
} from '../../../src/app/accounts/accounts.ts'
import { confirmEmailChange, requestEmailChange } from '../../../src/app/accounts/email-changes.ts'
import { signUp } from '../../../src/app/accounts/sign-up.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { limits } from '../../../src/core/limits.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { emptyShards, everything, rowCounts, rows } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody } from '../../support/worker-isolate.ts'

const ORIGIN = 'http://localhost'
const NEXT = 'ada.lovelace@example.com'
const HOUR_MS = 3_600_000
const RESERVATION_MS = 60_000
const NEXT_PASSWORD = 'another pass phrase'

beforeEach(emptyShards)

/** `done`, or the error's code. The jobs run. */
async function outcomeOf(isolate: TestIsolate, work: Promise<unknown>): Promise<string> {
  try {
    await work
    await isolate.afterResponse()
    return 'done'
  } catch (error) {
    if (error instanceof BanyanError) return error.code
    throw error
  }
}

const asks = (world: World, { session, password }: Member, email: string, given = password) => {
  const isolate = world.isolate()
  return outcomeOf(isolate, requestEmailChange(isolate.tiers, session, { email, password: given }, ORIGIN))
}

const confirms = (world: World, token: string, isolate = world.isolate(), key: string | null = null) => {
  const retry = key === null ? null : { key, request: `POST /api/v1/email-changes/${token}\n` }
  return outcomeOf(isolate, confirmEmailChange(isolate.tiers, token, ORIGIN, retry))
}

const joins = (world: World, email: string) => {
  const isolate = world.isolate()
  const request = { origin: ORIGIN, userAgent: '', retry: null }
  return outcomeOf(isolate, signUp(isolate.tiers, { ...somebody(), email }, request))
}

const logsIn = (world: World, login: string, password: string) => {
  const isolate = world.isolate()
  return outcomeOf(isolate, logIn(isolate.tiers, { login, password }, anyClient, null))
}

/** The token of the latest mail of this kind to this address. */
function tokenFor(world: World, path: string, to: string): string {
  const mail = world.mails.findLast((one) => one.to === to && one.text.includes(`/${path}/`))
  return new RegExp(`/${path}/(\\S+)`).exec(mail?.text ?? '')![1]!
}

async function asked(email = NEXT) {
  const world = new World()
  const ada = await member(world)
  expect(await asks(world, ada, email)).toBe('done')
  return { world, ada, token: tokenFor(world, 'confirm-email', NEXT) }
}

const claimOf = async (value: string) =>
  (await rows('claims', `key = '${claimKey({ kind: 'email', value })}'`)).map(({ owner_id, state }) => ({
    owner_id,
    state,
  }))[0] ?? null

const emailOf = async ({ userId }: Member) => (await rows('accounts', `id = '${userId}'`))[0]!.email

describe('a change of the e-mail address', () => {
  test('mails a link to the new address, and changes nothing yet', async () => {
    const { world, ada } = await asked(` ${NEXT.toUpperCase()}`)
    expect(await emailOf(ada)).toBe(ada.email)
    expect(await claimOf(NEXT)).toBeNull()
    expect([await logsIn(world, ada.email, ada.password), await logsIn(world, NEXT, ada.password)]).toEqual([
      'done',
      'WRONG_CREDENTIALS',
    ])
  })

  test('that is confirmed moves the claim, confirms the address, keeps the session and notifies the old address', async () => {
    const { world, ada, token } = await asked()
    expect(await confirms(world, token)).toBe('done')
    expect(await rows('accounts')).toMatchObject([{ email: NEXT, email_verified_at: world.clock.now() }])
    expect([await claimOf(NEXT), await claimOf(ada.email)]).toEqual([
      { owner_id: ada.userId, state: 'confirmed' },
      null,
    ])
    expect((await rows('claims', "kind = 'handle'")).map(({ state }) => state)).toEqual(['confirmed'])
    expect((await world.isolate().tiers.sessions.authenticate(ada.token, null)).session).toEqual(ada.session)
    const notice = world.mails.at(-1)!
    expect([notice.to, notice.subject]).toEqual([ada.email, 'Your e-mail address was changed'])
    expect(notice.text).not.toContain(NEXT)
    expect([await logsIn(world, NEXT, ada.password), await logsIn(world, ada.email, ada.password)]).toEqual([
      'done',
      'WRONG_CREDENTIALS',
    ])
    expect(await joins(world, ada.email)).toBe('done')
    expect((await rowCounts()).outbox).toBeUndefined()
  })

  test('works once', async () => {
    const { world, token } = await asked()
    await confirms(world, token)
    const before = await everything()
    expect(await confirms(world, token)).toBe('NOT_FOUND')
    expect(await everything()).toEqual(before)
  })

  test('twice at once, or again with its key, has one effect', async () => {
    const { world, ada, token } = await asked()
    const isolate = world.isolate()
    isolate.meanwhile('emails.commit', 'before', () => confirms(world, token, world.isolate(), 'key'))
    expect(await confirms(world, token, isolate, 'key')).toBe('done')
    expect(await confirms(world, token, world.isolate(), 'key')).toBe('done')
    expect(await emailOf(ada)).toBe(NEXT)
    expect(world.mails.filter(({ to }) => to === ada.email)).toHaveLength(2) // to verify it, and the notice
  })

  test('with a wrong password mails nothing, and is slowed down like the change of the password', async () => {
    const world = new World()
    const ada = await member(world)
    const sent = world.mails.length
    for (let tries = 0; tries < 4; tries++)
      expect(await asks(world, ada, NEXT, 'not this one')).toBe('WRONG_CREDENTIALS')
    const isolate = world.isolate()
    const guess = { current: 'not this one', next: NEXT_PASSWORD }
    expect(await outcomeOf(isolate, changePassword(isolate.tiers, ada.session, guess, anyClient.origin, false))).toBe(
      'WRONG_CREDENTIALS',
    )
    expect(await asks(world, ada, NEXT)).toBe('RATE_LIMITED')
    expect(world.mails).toHaveLength(sent)
    world.clock.advance(1_000)
    expect(await asks(world, ada, NEXT)).toBe('done')
    expect((await rowCounts()).password_attempts).toBeUndefined()
  })

  test('to a taken address is refused at once', async () => {
    const world = new World()
    const [ada, bob] = [await member(world), await member(world)]
    // Its password is right, so none of these attempts counts against it.
    for (let tries = 0; tries <= limits.passwordAttemptsFree; tries++)
      expect(await asks(world, ada, bob.email)).toBe('EMAIL_TAKEN')
    expect(await rows('mail_tokens', "purpose = 'change-email'")).toEqual([])
  })

  test('to an address that somebody takes meanwhile is refused when it is confirmed', async () => {
    const { world, ada, token } = await asked()
    expect(await joins(world, NEXT)).toBe('done')
    expect(await confirms(world, token)).toBe('EMAIL_TAKEN')
    expect([await emailOf(ada), await claimOf(ada.email)]).toEqual([
      ada.email,
      { owner_id: ada.userId, state: 'confirmed' },
    ])
  })

  test('supersedes an earlier one; a request for the present address cancels it', async () => {
    const { world, ada, token } = await asked()
    expect(await asks(world, ada, 'other@example.com')).toBe('done')
    expect(await confirms(world, token)).toBe('NOT_FOUND')
    const other = tokenFor(world, 'confirm-email', 'other@example.com')
    const sent = world.mails.length
    expect(await asks(world, ada, ada.email)).toBe('done')
    expect(world.mails).toHaveLength(sent)
    expect(await confirms(world, other)).toBe('NOT_FOUND')
    expect(await emailOf(ada)).toBe(ada.email)
  })

  test('expires after a day, and ends with a new password, which the thief of the old one does not know', async () => {
    const { world, ada, token } = await asked()
    const isolate = world.isolate()
    const change = { current: ada.password, next: NEXT_PASSWORD }
    await changePassword(isolate.tiers, ada.session, change, anyClient.origin, false)
    expect(await confirms(world, token)).toBe('NOT_FOUND')
    await asks(world, { ...ada, password: NEXT_PASSWORD }, NEXT)
    world.clock.advance(24 * HOUR_MS)
    expect(await confirms(world, tokenFor(world, 'confirm-email', NEXT))).toBe('NOT_FOUND')
  })

  test('there and back again leaves the first address with its claim', async () => {
    const { world, ada, token } = await asked()
    await confirms(world, token)
    await asks(world, ada, ada.email)
    expect(await confirms(world, tokenFor(world, 'confirm-email', ada.email))).toBe('done')
    expect([await claimOf(ada.email), await claimOf(NEXT)]).toEqual([
      { owner_id: ada.userId, state: 'confirmed' },
      null,
    ])
  })
})

describe('links that were mailed to the old address', () => {
  test('neither set a password nor confirm an address', async () => {
    const { world, ada, token } = await asked()
    const isolate = world.isolate()
    await requestPasswordReset(isolate.tiers, ada.email, ORIGIN, null)
    await isolate.afterResponse()
    const [reset, verification] = ['reset-password', 'verify-email'].map((path) => tokenFor(world, path, ada.email))
    await confirms(world, token)
    const { tiers } = world.isolate()
    expect(await outcomeOf(isolate, resetPassword(tiers, reset!, NEXT_PASSWORD, anyClient.origin, null))).toBe(
      'NOT_FOUND',
    )
    expect(await outcomeOf(isolate, verifyEmail(tiers, verification!, null))).toBe('NOT_FOUND')
    expect((await rows('mail_tokens')).map(({ purpose }) => purpose)).toEqual(['email-changed'])
    expect(await logsIn(world, NEXT, ada.password)).toBe('done')
  })

  test('set no password even if the change commits between the check of the link and the new password', async () => {
    const { world, ada, token } = await asked()
    const isolate = world.isolate()
    await requestPasswordReset(isolate.tiers, ada.email, ORIGIN, null)
    await isolate.afterResponse()
    const reset = tokenFor(world, 'reset-password', ada.email)
    const resetting = world.isolate()
    const hold = resetting.holdAt('accounts.reset-password', 'after')
    const outcome = outcomeOf(resetting, resetPassword(resetting.tiers, reset, NEXT_PASSWORD, anyClient.origin, null))
    await hold.reached
    await confirms(world, token)
    hold.letGo()
    expect(await outcome).toBe('CONFLICT')
    expect(await logsIn(world, NEXT, ada.password)).toBe('done')
  })

  test('are not sent if they were requested before the change and written after it', async () => {
    const { world, ada, token } = await asked()
    const isolate = world.isolate()
    const hold = isolate.holdAt('accounts.request-reset', 'before')
    const requested = requestPasswordReset(isolate.tiers, ada.email, ORIGIN, null)
    await hold.reached
    await confirms(world, token)
    const sent = world.mails.length
    hold.letGo()
    await requested
    await isolate.afterResponse()
    expect(world.mails).toHaveLength(sent)
    expect(await rows('mail_tokens', "purpose = 'reset-password'")).toEqual([])
  })
})

test('a confirmation that is frozen while the address changes twice keeps no claim without its account', async () => {
  const { world, ada, token } = await asked()
  const slow = world.isolate()
  const hold = slow.holdAt('emails.read-attempts', 'after')
  const outcome = confirms(world, token, slow)
  await hold.reached
  expect(await confirms(world, token)).toBe('done')
  expect(await asks(world, ada, 'third@example.com')).toBe('done')
  expect(await confirms(world, tokenFor(world, 'confirm-email', 'third@example.com'))).toBe('done')
  hold.letGo()
  expect(await outcome).toBe('NOT_FOUND')
  world.clock.advance(RESERVATION_MS + 1)
  await world.isolate().cron()
  expect([await emailOf(ada), await claimOf(NEXT)]).toEqual(['third@example.com', null])
  expect(await joins(world, NEXT)).toBe('done')
})

// ── crashes ───────────────────────────────────────────────────────────────────────────────────────

const deaths = [
  ['emails.read', 'after'],
  ['claims.reserve-email', 'before'],
  ['claims.reserve-email', 'after'],
  ['emails.commit', 'before'],
  ['emails.commit', 'after'],
] as const

describe.each(deaths)('a confirmation that crashes at %s (%s)', (operation, moment) => {
  test.each([
    ['at once', 0],
    ['when its reservation has expired', RESERVATION_MS + 1],
  ])('is repeated %s: one owner, and no claim without its account', async (_when, waitMs) => {
    const { world, ada, token } = await asked()
    const dying = world.isolate()
    const hold = dying.holdAt(operation, moment)
    void confirms(world, token, dying)
    await hold.reached
    world.clock.advance(waitMs)
    if (waitMs > 0) await world.isolate().cron()
    const hadCommitted = operation === 'emails.commit' && moment === 'after'
    expect(await confirms(world, token)).toBe(hadCommitted ? 'NOT_FOUND' : 'done')
    world.clock.advance(RESERVATION_MS + 1)
    await world.isolate().cron()
    expect(await emailOf(ada)).toBe(NEXT)
    expect([await claimOf(NEXT), await claimOf(ada.email)]).toEqual([
      { owner_id: ada.userId, state: 'confirmed' },
      null,
    ])
    expect(world.mails.at(-1)!.to).toBe(ada.email)
  })
})
