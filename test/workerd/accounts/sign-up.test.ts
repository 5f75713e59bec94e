import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { normaliseEmail } from '../../../src/app/accounts/accounts.ts'
import { confirmEmailChange, requestEmailChange } from '../../../src/app/accounts/email-changes.ts'
import { changeHandle } from '../../../src/app/accounts/handle-changes.ts'
import { type SignUpInput, signUp } from '../../../src/app/accounts/sign-up.ts'
import { hasCode } from '../../../src/core/errors.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import { emptyShards, everything, type Row, rowCounts, rows } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const RESERVATION_MS = 60_000

beforeEach(emptyShards)

/** Signs up. Resolves to the user's id, or the error's code. */
async function attempt({ tiers }: TestIsolate, input: SignUpInput, key: string | null = null): Promise<string> {
  const retry = key === null ? null : { key, request: `POST /api/v1/accounts\n${JSON.stringify(input)}` }
  try {
    const { userId, token } = await signUp(tiers, input, { origin: 'http://localhost', userAgent: '', retry })
    const { session } = await tiers.sessions.authenticate(token, null)
    expect(session?.userId, 'the token that sign-up answers').toBe(userId)
    return userId
  } catch (error) {
    if (hasCode(error, 'EMAIL_TAKEN', 'HANDLE_TAKEN', 'CONFLICT', 'IDEMPOTENCY_KEY_REUSED')) return error.code
    throw error
  }
}

/** INV-4, after the cron has settled expired reservations: each account has its claims, and each claim its account. */
async function expectClaimsOfAccounts(world: World): Promise<void> {
  world.clock.advance(RESERVATION_MS + 1)
  await world.isolate().cron()
  const profiles = await rows('profiles')
  const handles = new Map(profiles.map(({ id, handle }) => [id, String(handle)]))
  const wanted = (await rows('accounts')).flatMap(({ id, email }) => [
    { key: claimKey({ kind: 'email', value: String(email) }), owner_id: id },
    { key: claimKey({ kind: 'handle', value: handles.get(id!)! }), owner_id: id },
  ])
  const held = (await rows('claims')).map(({ key, owner_id, state }) => ({ key, owner_id, state }))
  const inOrder = (list: { key: Row[string] | undefined }[]) =>
    list.sort((a, b) => String(a.key).localeCompare(String(b.key)))
  expect(inOrder(held)).toEqual(inOrder(wanted.map((claim) => ({ ...claim, state: 'confirmed' }))))
  expect(profiles).toHaveLength(wanted.length / 2)
}

const ownersOf = async (email: string) =>
  (await rows('accounts')).filter((row) => row.email === normaliseEmail(email)).map(({ id }) => id)

describe('fifty concurrent sign-ups over five isolates', () => {
  const shared = somebody()
  const crowds: [string, string, (input: SignUpInput) => SignUpInput][] = [
    ['one e-mail address', 'EMAIL_TAKEN', (input) => ({ ...input, email: shared.email })],
    ['one handle', 'HANDLE_TAKEN', (input) => ({ ...input, handle: shared.handle })],
    ['one of both', 'EMAIL_TAKEN', (input) => ({ ...input, email: shared.email, handle: shared.handle })],
  ]

  test.each(crowds)('%s: one succeeds, and the others leave no rows', async (_name, code, share) => {
    const isolates = Array.from({ length: 5 }, () => workerIsolate())
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        isolates[n % 5]!.request('POST', '/api/v1/accounts', { json: share(somebody()) }),
      ),
    )
    const refused = answers.filter(({ status }) => status === 409)
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(refused.map((answer) => answer.json().code)).toEqual(Array(49).fill(code))
    const { id } = answers.find(({ status }) => status === 201)!.json<{ user: { id: string } }>().user
    const one = { accounts: 1, profiles: 1, sessions: 1, known_devices: 1, mail_tokens: 1, claim_attempts: 1 }
    expect(await rowCounts()).toEqual({ ...one, claims: 2, inbox: 1, claim_inbox: 2 })
    const owners = await Promise.all([rows('accounts'), rows('profiles')])
    expect(owners.flat().map((row) => row.id)).toEqual([id, id])
    expect((await rows('claims')).map((row) => row.owner_id)).toEqual([id, id])
  })

  test('with Idempotency-Keys, the losers’ keys and reservations are deleted; their bars stay, so that no equal request commits', async () => {
    const isolates = Array.from({ length: 5 }, () => workerIsolate())
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, n) =>
        isolates[n % 5]!.request('POST', '/api/v1/accounts', {
          json: { ...somebody(), handle: shared.handle },
          key: `key ${n}`,
        }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(14).fill(409)])
    const outcomes = (await rows('claim_attempts')).map((row) => row.outcome).sort()
    expect(outcomes).toEqual([...Array(14).fill('barred'), 'taken'])
    const left = await rowCounts()
    expect([left.accounts, left.claims, left.idempotency_keys, left.outbox]).toEqual([1, 2, 1, undefined])
  })
})

describe('one claim in different spellings', () => {
  const first = somebody()
  test.each([
    ['e-mail in capitals', { email: first.email.toUpperCase() }, 'EMAIL_TAKEN'],
    ['e-mail in spaces', { email: `\t ${first.email} ` }, 'EMAIL_TAKEN'],
    ['handle in capitals', { handle: first.handle.toUpperCase() }, 'HANDLE_TAKEN'],
    ['handle in spaces', { handle: ` ${first.handle} ` }, 'HANDLE_TAKEN'],
  ])('%s', async (_name, variant, code) => {
    const { request } = workerIsolate()
    const made = await request('POST', '/api/v1/accounts', { json: first })
    expect(made.status).toBe(201)
    const before = await everything()
    const answer = await request('POST', '/api/v1/accounts', { json: { ...somebody(), ...variant } })
    expect([answer.status, answer.json().code]).toEqual([409, code])
    expect(await everything()).toEqual(before)
  })
})

// ── crashes ───────────────────────────────────────────────────────────────────────────────────────

/** Where a sign-up crashes, whether its e-mail address is reserved by then, and whether it had committed. */
const deaths = [
  { operation: 'sign-up.begin', moment: 'before', reserved: false, committed: false },
  { operation: 'sign-up.begin', moment: 'after', reserved: false, committed: false },
  { operation: 'claims.reserve-email', moment: 'after', reserved: true, committed: false },
  { operation: 'claims.reserve-handle', moment: 'after', reserved: true, committed: false },
  { operation: 'sign-up.commit', moment: 'before', reserved: true, committed: false },
  { operation: 'sign-up.commit', moment: 'after', reserved: true, committed: true },
  { operation: 'the relay', moment: 'before', reserved: true, committed: true },
] as const

type Death = (typeof deaths)[number]

/** A sign-up that crashes there, in its own isolate. It never ends. */
async function dyingSignUp(world: World, death: Death, input: SignUpInput, key: string | null) {
  const isolate = world.isolate()
  if (death.operation === 'the relay') {
    await attempt(isolate, input, key)
    return
  }
  const hold = isolate.holdAt(death.operation, death.moment)
  void attempt(isolate, input, key)
  await hold.reached
}

describe.each(deaths)('a sign-up that crashes $moment $operation', (death) => {
  test.each([
    ['at once', 0, false],
    ['when its reservation has expired', RESERVATION_MS + 1, false],
    ['when the cron has settled its reservation', RESERVATION_MS + 1, true],
  ])('a retry with its key %s creates one account', async (_when, waitMs, isSettled) => {
    const world = new World()
    const input = somebody()
    await dyingSignUp(world, death, input, 'key')
    world.clock.advance(waitMs)
    if (isSettled) await world.isolate().cron()
    const retried = world.isolate()
    const userId = await attempt(retried, input, 'key')
    await retried.afterResponse()
    expect(await ownersOf(input.email)).toEqual([userId])
    expect((await rows('sessions')).map((row) => row.user_id)).toEqual([userId])
    expect(await attempt(world.isolate(), input, 'key')).toBe(userId)
    await expectClaimsOfAccounts(world)
  })

  test('the cron leaves no claim without its account', async () => {
    const world = new World()
    await dyingSignUp(world, death, somebody(), 'key')
    await expectClaimsOfAccounts(world)
    expect((await rowCounts()).claims ?? 0).toBe(death.committed ? 2 : 0)
  })
})

test.each(deaths.filter(({ operation }) => operation !== 'sign-up.begin'))(
  'a sign-up without a key crashes $moment $operation: another gets the address after a minute, unless it had committed',
  async (death) => {
    const world = new World()
    const input = somebody()
    await dyingSignUp(world, death, input, null)
    const early = await attempt(world.isolate(), { ...somebody(), email: input.email })
    expect(early).toBe('EMAIL_TAKEN')
    world.clock.advance(RESERVATION_MS + 1)
    const other = await attempt(world.isolate(), { ...somebody(), email: input.email })
    if (death.committed) expect(other).toBe('EMAIL_TAKEN')
    else expect(await ownersOf(input.email)).toEqual([other])
    expect(await ownersOf(input.email)).toHaveLength(1)
    await expectClaimsOfAccounts(world)
  },
)

describe('a sign-up frozen before its commit', () => {
  async function frozen(key: string | null = null) {
    const world = new World()
    const input = somebody()
    const isolate = world.isolate()
    const hold = isolate.holdAt('sign-up.commit', 'before')
    const outcome = attempt(isolate, input, key)
    await hold.reached
    world.clock.advance(RESERVATION_MS + 1)
    const wake = () => {
      hold.letGo()
      return outcome
    }
    return { world, input, isolate, wake }
  }

  test.each([[null], ['key']])(
    'wakes after another sign-up took its e-mail address: refused, nothing written (key: %s)',
    async (key) => {
      const { world, input, wake } = await frozen(key)
      const other = await attempt(world.isolate(), { ...somebody(), email: input.email })
      const before = await rowCounts()
      expect(await wake()).toBe('EMAIL_TAKEN')
      expect(await ownersOf(input.email)).toEqual([other])
      const { claims, claim_attempts, idempotency_keys, ...rest } = await rowCounts()
      const { claims: _c, claim_attempts: _a, idempotency_keys: _k, ...restBefore } = before
      expect(rest).toEqual(restBefore)
      expect([claims, idempotency_keys]).toEqual([2, undefined])
      await expectClaimsOfAccounts(world)
    },
  )

  test('resumes after another sign-up barred it and released the address: it starts from scratch and succeeds', async () => {
    const { world, input, wake } = await frozen()
    const taken = somebody()
    await attempt(world.isolate(), taken)
    expect(await attempt(world.isolate(), { ...taken, email: input.email })).toBe('HANDLE_TAKEN')
    expect(await ownersOf(input.email)).toEqual([])
    const userId = await wake()
    expect(await ownersOf(input.email)).toEqual([userId])
    await expectClaimsOfAccounts(world)
  })

  test('wakes after the cron settled it: it starts from scratch and succeeds, once', async () => {
    const { world, input, wake } = await frozen('key')
    await world.isolate().cron()
    expect((await rowCounts()).claims).toBeUndefined()
    const userId = await wake()
    expect(await ownersOf(input.email)).toEqual([userId])
    expect(await attempt(world.isolate(), input, 'key')).toBe(userId)
    await expectClaimsOfAccounts(world)
  })

  test('is barred repeatedly: it gives up after three attempts, and leaves no rows', async () => {
    const { world, isolate, wake } = await frozen()
    for (let tries = 0; tries < 3; tries++) {
      if (tries > 0)
        isolate.meanwhile('sign-up.commit', 'before', async () => {
          world.clock.advance(RESERVATION_MS + 1)
          await world.isolate().cron()
        })
    }
    await world.isolate().cron()
    expect(await wake()).toBe('CONFLICT')
    expect(Object.keys(await rowCounts())).toEqual(['claim_attempts'])
  })

  test('commits just before another sign-up bars it: the other one loses and confirms the claim', async () => {
    const { world, input, wake } = await frozen()
    const contender = world.isolate()
    let owner = ''
    contender.meanwhile('claims.bar', 'before', async () => {
      owner = await wake()
    })
    expect(await attempt(contender, { ...somebody(), email: input.email })).toBe('EMAIL_TAKEN')
    expect(await ownersOf(input.email)).toEqual([owner])
    const confirmed = await rows('claims', "state = 'confirmed'")
    expect(confirmed.map((row) => [row.kind, row.owner_id])).toEqual([['email', owner]])
    await expectClaimsOfAccounts(world)
  })

  test.each([
    ['claims.bar', 'after'],
    ['claims.contest-email', 'before'],
    ['claims.contest-email', 'after'],
    ['claims.reserve-handle', 'after'],
    ['sign-up.commit', 'before'],
  ] as const)('wakes when the contender is %s, %s: one of them gets the address', async (operation, moment) => {
    const { world, input, wake } = await frozen()
    const contender = world.isolate()
    let woken = ''
    contender.meanwhile(operation, moment, async () => {
      woken = await wake()
    })
    const other = await attempt(contender, { ...somebody(), email: input.email })
    const owners = await ownersOf(input.email)
    expect(owners).toHaveLength(1)
    expect([other, woken].filter((outcome) => outcome === 'EMAIL_TAKEN')).toHaveLength(1)
    expect([other, woken]).toContain(owners[0])
    await expectClaimsOfAccounts(world)
  })

  test.each([
    ['claims.bar', 'after'],
    ['claims.contest-email', 'after'],
    ['claims.reserve-handle', 'after'],
    ['sign-up.commit', 'before'],
  ] as const)(
    'the other sign-up crashes at %s, %s: a third gets the address, and this one is refused when it wakes',
    async (operation, moment) => {
      const { world, input, wake } = await frozen()
      const contender = world.isolate()
      const hold = contender.holdAt(operation, moment)
      const contended = attempt(contender, { ...somebody(), email: input.email })
      await hold.reached
      world.clock.advance(RESERVATION_MS + 1)
      const third = await attempt(world.isolate(), { ...somebody(), email: input.email })
      expect(await ownersOf(input.email)).toEqual([third])
      expect(await wake()).toBe('EMAIL_TAKEN')
      hold.letGo()
      expect(await contended).toBe('EMAIL_TAKEN')
      expect(await ownersOf(input.email)).toEqual([third])
      await expectClaimsOfAccounts(world)
    },
  )

  test('ten sign-ups want its expired reservation: one gets the address', async () => {
    const { world, input, wake } = await frozen()
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, () => attempt(world.isolate(), { ...somebody(), email: input.email })),
    )
    const owners = await ownersOf(input.email)
    expect(outcomes.filter((outcome) => outcome !== 'EMAIL_TAKEN')).toEqual(owners)
    expect(owners).toHaveLength(1)
    expect(await wake()).toBe('EMAIL_TAKEN')
    await expectClaimsOfAccounts(world)
  })
})

test('a sign-up whose confirm job never ran keeps its claims: a later sign-up loses, and confirms them', async () => {
  const world = new World()
  const input = somebody()
  const userId = await attempt(world.isolate(), input)
  expect((await rows('claims')).map((row) => row.state)).toEqual(['reserved', 'reserved'])
  world.clock.advance(RESERVATION_MS + 1)
  expect(await attempt(world.isolate(), { ...somebody(), email: input.email })).toBe('EMAIL_TAKEN')
  expect(await attempt(world.isolate(), { ...somebody(), handle: input.handle })).toBe('HANDLE_TAKEN')
  const claims = await rows('claims')
  expect(claims.map((row) => [row.state, row.owner_id])).toEqual(Array(2).fill(['confirmed', userId]))
  await expectClaimsOfAccounts(world)
})

// ── one Idempotency-Key, several requests ─────────────────────────────────────────────────────────

describe('two requests with one Idempotency-Key', () => {
  test.each(deaths.filter(({ operation }) => operation !== 'the relay'))(
    'one stops $moment $operation, the other overtakes it: one account, and both tokens sign in',
    async ({ operation, moment }) => {
      const world = new World()
      const input = somebody()
      const [slow, quick] = [world.isolate(), world.isolate()]
      const hold = slow.holdAt(operation, moment)
      const first = attempt(slow, input, 'key')
      await hold.reached
      const userId = await attempt(quick, input, 'key')
      hold.letGo()
      expect(await first).toBe(userId)
      expect(await ownersOf(input.email)).toEqual([userId])
      expect(await rows('sessions')).toHaveLength(1)
      await expectClaimsOfAccounts(world)
    },
  )

  test('five concurrent requests create one account', async () => {
    const world = new World()
    const input = somebody()
    const request = { retry: { key: 'key', request: 'one' }, origin: 'http://localhost', userAgent: '' }
    const answers = await Promise.all(Array.from({ length: 5 }, () => signUp(world.isolate().tiers, input, request)))
    expect(new Set(answers.map(({ userId }) => userId)).size).toBe(1)
    expect((await rowCounts()).accounts).toBe(1)
    expect((await rowCounts()).sessions).toBe(1)
    await expectClaimsOfAccounts(world)
  })

  test('one gives the attempt up while the other waits to commit: a third takes the address, and the slow one is refused', async () => {
    const world = new World()
    const input = somebody()
    const [slow, failing] = [world.isolate(), world.isolate()]
    const hold = slow.holdAt('sign-up.commit', 'before')
    const first = attempt(slow, input, 'key')
    await hold.reached
    failing.failAt('sign-up.commit', new Error('D1_ERROR: string or blob too big: SQLITE_TOOBIG'))
    await expect(attempt(failing, input, 'key')).rejects.toThrow(/too big/)
    const other = await attempt(world.isolate(), { ...somebody(), email: input.email })
    hold.letGo()
    expect(await first).toBe('EMAIL_TAKEN')
    expect(await ownersOf(input.email)).toEqual([other])
    await expectClaimsOfAccounts(world)
  })

  test.each(['sign-up.begin', 'claims.reserve-email', 'claims.reserve-handle', 'sign-up.commit'])(
    'the answer of %s is lost: a retry with the key creates one account',
    async (operation) => {
      const world = new World()
      const input = somebody()
      const first = world.isolate()
      first.loseAnswerOf(operation)
      const outcome = await attempt(first, input, 'key').catch((error) => {
        expect(hasCode(error, 'OUTCOME_UNKNOWN')).toBe(true)
        return 'OUTCOME_UNKNOWN'
      })
      // Reserving may be repeated, so the router repeats it. The other two report an unknown outcome.
      const isRepeatable = operation.startsWith('claims.')
      expect(outcome === 'OUTCOME_UNKNOWN').toBe(!isRepeatable)
      const userId = await attempt(world.isolate(), input, 'key')
      expect(await ownersOf(input.email)).toEqual([userId])
      await expectClaimsOfAccounts(world)
    },
  )

  test('a retry after the account has changed its address and handle takes neither back', async () => {
    const world = new World()
    const input = somebody()
    const isolate = world.isolate()
    const userId = await attempt(isolate, input, 'key')
    await isolate.afterResponse()
    const session = { id: String((await rows('sessions'))[0]?.id), userId }
    await changeHandle(isolate.tiers, session, 'another_name')
    const change = { email: 'another@example.com', password: input.password }
    await requestEmailChange(isolate.tiers, session, change, 'http://localhost')
    await isolate.afterResponse()
    const [, link = ''] = /confirm-email\/(\S+)/.exec(world.mails.at(-1)?.text ?? '') ?? []
    await confirmEmailChange(isolate.tiers, link, 'http://localhost', null)
    await isolate.afterResponse()
    const before = await rows('claims')
    expect(await attempt(world.isolate(), input, 'key')).toBe(userId)
    world.clock.advance(RESERVATION_MS + 1)
    await world.isolate().cron()
    expect(await rows('claims')).toEqual(before)
    const other = await attempt(world.isolate(), { ...somebody(), email: input.email })
    expect(await ownersOf(input.email)).toEqual([other])
  })

  test('the key with another body is refused, and changes nothing', async () => {
    const isolate = workerIsolate()
    const input = somebody()
    const first = await isolate.request('POST', '/api/v1/accounts', { json: input, key: 'one' })
    expect(first.status).toBe(201)
    const before = await everything()
    const other = await isolate.request('POST', '/api/v1/accounts', { json: somebody(), key: 'one' })
    expect([other.status, other.json().code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
    expect(await everything()).toEqual(before)
  })
})
