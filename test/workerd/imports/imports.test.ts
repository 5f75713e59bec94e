import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { logIn } from '../../../src/app/accounts/accounts.ts'
import { changeHandle } from '../../../src/app/accounts/handle-changes.ts'
import { hashPassword, NO_PASSWORD } from '../../../src/app/accounts/passwords.ts'
import { signUp } from '../../../src/app/accounts/sign-up.ts'
import { importUsers } from '../../../src/app/imports/imports.ts'
import type { ImportRecord } from '../../../src/app/imports/records.ts'
import { verifyUsers } from '../../../src/app/imports/verification.ts'
import { hasCode } from '../../../src/core/errors.ts'
import { isUserId } from '../../../src/core/ids.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import { anyClient, member } from '../../support/members.ts'
import { emptyShards, everything, type Row, rowCounts, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody } from '../../support/worker-isolate.ts'

const RESERVATION_MS = 60_000
const source = 'stage2'

beforeEach(emptyShards)

let people = 0
const newcomer = (more: Partial<ImportRecord> = {}): ImportRecord => {
  people++
  return {
    externalId: `${people}`,
    email: `newcomer${people}@example.com`,
    handle: `newcomer_${people}`,
    createdAt: new Date(1_500_000_000_000 + people).toISOString(),
    ...more,
  }
}
const newcomers = (count: number) => Array.from({ length: count }, () => newcomer())

const send = ({ tiers }: TestIsolate, users: ImportRecord[]) => importUsers(tiers, { source, users })
const outcomesOf = async (isolate: TestIsolate, users: ImportRecord[]) =>
  (await send(isolate, users)).map(({ outcome, code }) => code ?? outcome)

/** Repeats busy users, as the command does. */
async function sendUntilDecided(isolate: TestIsolate, users: ImportRecord[]): Promise<string[]> {
  const outcomes = new Map<string, string>()
  let waiting = users
  for (let tries = 0; waiting.length > 0; tries++) {
    if (tries > 5) throw new Error(`still busy: ${JSON.stringify(waiting)}`)
    const items = await send(isolate, waiting)
    waiting = waiting.filter((_, index) => items[index]!.outcome === 'busy')
    for (const { externalId, outcome, code } of items) outcomes.set(externalId, code ?? outcome)
  }
  return users.map(({ externalId }) => outcomes.get(externalId)!)
}

/** INV-4: each account has its claims, confirmed, and there is no other claim. */
async function expectClaimsOfAccounts(): Promise<void> {
  const profiles = await rows('profiles')
  const accounts = new Map((await rows('accounts')).map((row) => [row.id, row]))
  const wanted = profiles.flatMap(({ id, handle }) => [
    { key: claimKey({ kind: 'email', value: String(accounts.get(id!)!.email) }), owner_id: id, state: 'confirmed' },
    { key: claimKey({ kind: 'handle', value: String(handle) }), owner_id: id, state: 'confirmed' },
  ])
  expect(profiles).toHaveLength(accounts.size)
  const held = await rows('claims')
  const of = ({ key, owner_id, state }: Row) => ({ key, owner_id, state })
  const byKey = (a: { key?: Row[string] | undefined }, b: { key?: Row[string] | undefined }) =>
    String(a.key).localeCompare(String(b.key))
  expect(
    held
      .filter(({ kind }) => kind !== 'external')
      .map(of)
      .sort(byKey),
  ).toEqual(wanted.sort(byKey))
  for (const claim of held.filter(({ kind }) => kind === 'external'))
    expect([accounts.has(claim.owner_id!), claim.state], String(claim.owner_id)).toEqual([true, 'confirmed'])
}

const housekeeping = async (world: World) => {
  world.clock.advance(RESERVATION_MS + 1)
  await world.isolate().cron()
}

describe('imported users', () => {
  test('get an id that names their slot, an account, a profile and three claims; no mail and no job', async () => {
    const world = new World()
    const isolate = world.isolate()
    const users = newcomers(200)
    const items = await send(isolate, users)
    expect(items.map(({ outcome }) => outcome)).toEqual(Array(200).fill('imported'))
    expect(items.every(({ id }) => isUserId(id!))).toBe(true)
    expect(await rowCounts()).toEqual({ accounts: 200, profiles: 200, claim_attempts: 200, claims: 600 })
    await expectClaimsOfAccounts()
    const [first] = await rows('accounts', `email = '${users[0]!.email}'`)
    expect(first).toEqual({
      id: items[0]!.id,
      email: users[0]!.email,
      email_verified_at: null,
      password_hash: NO_PASSWORD,
      password_version: 1,
      log_in_notices: 1,
      created_at: Date.parse(users[0]!.createdAt!),
    })
    const external = claimKey({ kind: 'external', value: `${source}\0${users[0]!.externalId}` })
    expect((await rows('claims', `key = '${external}'`)).map(({ owner_id }) => owner_id)).toEqual([items[0]!.id])
    // Two shards, with one batch each to find, reserve, commit and confirm.
    expect(isolate.calls.length).toBe(8)
  })

  test('change nothing when they are sent again, alone or with others', async () => {
    const world = new World()
    const users = newcomers(20)
    const items = await send(world.isolate(), users)
    const before = await everything()
    world.clock.advance(10 * RESERVATION_MS)
    const again = await send(world.isolate(), users.toReversed())
    expect(again.map(({ outcome, id }) => [outcome, id])).toEqual(items.toReversed().map(({ id }) => ['there', id]))
    expect(await everything()).toEqual(before)
  })

  test('sent again, do not regain claims that they have given up since', async () => {
    const isolate = new World().isolate()
    const user = newcomer()
    const [item] = await send(isolate, [user])
    // The user has another address by now, and the old one is free.
    await runEverywhere("UPDATE accounts SET email = 'moved@example.com' WHERE id = ?", item!.id)
    await runEverywhere("DELETE FROM claims WHERE owner_id = ? AND kind = 'email'", item!.id)
    expect(await outcomesOf(isolate, [user])).toEqual(['there'])
    expect((await rows('claims', "kind = 'email'")).length).toBe(0)
    const input = { ...somebody(), email: user.email }
    await signUp(isolate.tiers, input, { origin: 'http://localhost', userAgent: '', retry: null })
  })

  test('a user of another source with the same external id is another user', async () => {
    const { tiers } = new World().isolate()
    const user = newcomer()
    const [one] = await importUsers(tiers, { source, users: [user] })
    const [other] = await importUsers(tiers, {
      source: 'other',
      users: [{ ...newcomer(), externalId: user.externalId, createdAt: user.createdAt }],
    })
    expect([one!.outcome, other!.outcome]).toEqual(['imported', 'imported'])
    expect(one!.id).not.toBe(other!.id)
  })

  test('log in with an imported hash; without one only a reset helps, and a log-in does not reveal this', async () => {
    const isolate = new World().isolate()
    const passwordHash = await hashPassword('an old pass phrase', systemRandom, { ln: 10, r: 1, p: 1 })
    const [withHash, without, bcrypt] = [
      newcomer({ passwordHash }),
      newcomer(),
      newcomer({ passwordHash: '$2b$12$abcdefghijklmnopqrstuu5Kz1Qw6n9u3xYQJf3Yy0GJt8Jq0Vb2W' }),
    ]
    const items = await send(isolate, [withHash, without, bcrypt])
    expect(items.map(({ hasPassword }) => hasPassword)).toEqual([true, false, false])
    const { userId } = await logIn(
      isolate.tiers,
      { login: withHash.handle, password: 'an old pass phrase' },
      anyClient,
      null,
    )
    expect(userId).toBe(items[0]!.id)
    await isolate.settled()
    for (const [login, password] of [
      [withHash.email, 'another pass phrase'],
      [without.email, 'an old pass phrase'],
      [without.email, NO_PASSWORD],
      [bcrypt.handle, ''],
    ] as const)
      await expect(logIn(isolate.tiers, { login, password }, anyClient, null)).rejects.toMatchObject({
        code: 'WRONG_CREDENTIALS',
      })
  })
})

describe('one refused user', () => {
  const wrong: [string, Partial<ImportRecord>, string][] = [
    ['an invalid e-mail address', { email: 'nobody' }, 'EMAIL_INVALID'],
    ['an invalid handle', { handle: '9lives' }, 'HANDLE_INVALID'],
    ['an empty external id', { externalId: '' }, 'EXTERNAL_ID_INVALID'],
    ['a display name that is too long', { displayName: 'x'.repeat(51) }, 'DISPLAY_NAME_INVALID'],
    ['an external id with a NUL', { externalId: 'a\0b' }, 'EXTERNAL_ID_INVALID'],
    ['an external id with half a character', { externalId: 'a\ud800' }, 'EXTERNAL_ID_INVALID'],
    ['an e-mail address with a NUL', { email: 'a\0b@example.com' }, 'EMAIL_INVALID'],
    ['a handle with a NUL', { handle: 'a\0bcd' }, 'HANDLE_INVALID'],
    ['a display name with a NUL', { displayName: 'a\0b' }, 'DISPLAY_NAME_INVALID'],
    ['a bio with a NUL', { bio: '\0' }, 'BIO_INVALID'],
    ['a bio with half a character', { bio: 'a\udc00' }, 'BIO_INVALID'],
    ['an invalid time', { createdAt: 'yesterday' }, 'CREATED_AT_INVALID'],
    ['a time before 1970', { createdAt: '1969-12-31T23:59:59Z' }, 'CREATED_AT_INVALID'],
    ['a time in the future', { emailVerifiedAt: '2999-01-01T00:00:00Z' }, 'EMAIL_VERIFIED_AT_INVALID'],
  ]
  test.each(wrong)('%s does not stop the import of others', async (_name, change, code) => {
    const users = newcomers(3).with(1, newcomer(change))
    const outcomes = await outcomesOf(new World().isolate(), users)
    expect(outcomes).toEqual(['imported', code, 'imported'])
    expect(await rowCounts()).toEqual({ accounts: 2, profiles: 2, claim_attempts: 2, claims: 6 })
  })

  test.each([
    ['e-mail address', (person: { email: string }) => ({ email: person.email.toUpperCase() }), 'EMAIL_TAKEN'],
    ['handle', (person: { handle: string }) => ({ handle: ` ${person.handle}` }), 'HANDLE_TAKEN'],
  ] as const)('its %s is an account’s: it leaves no claim behind', async (_name, share, code) => {
    const world = new World()
    const isolate = world.isolate()
    const person = somebody()
    await signUp(isolate.tiers, person, { origin: 'http://localhost', userAgent: '', retry: null })
    await isolate.afterResponse()
    const users = newcomers(3).with(1, newcomer(share(person)))
    expect(await outcomesOf(isolate, users)).toEqual(['imported', code, 'imported'])
    await expectClaimsOfAccounts()
    expect(await outcomesOf(isolate, users)).toEqual(['there', code, 'there'])
    await expectClaimsOfAccounts()
  })

  test('if so many have an account without an attempt that batches stay unsplit, only these users are refused', async () => {
    const isolate = new World().isolate()
    const users = newcomers(120)
    await send(isolate, users.slice(0, 60))
    await runEverywhere('DELETE FROM claim_attempts')
    const expected = users.map((_, index) => (index < 60 ? 'DATABASE_CONSTRAINT' : 'imported'))
    expect(await sendUntilDecided(isolate, users)).toEqual(expected)
    await expectClaimsOfAccounts()
  })

  test('two users of one request want one handle: the first gets it', async () => {
    const world = new World()
    const users = newcomers(3)
    users[2] = { ...users[2]!, handle: users[1]!.handle }
    expect(await sendUntilDecided(world.isolate(), users)).toEqual(['imported', 'imported', 'HANDLE_TAKEN'])
    await expectClaimsOfAccounts()
  })

  test('two users of one request have one external id: the second is refused', async () => {
    const users = newcomers(2)
    users[1] = { ...users[1]!, externalId: users[0]!.externalId, createdAt: users[0]!.createdAt }
    expect(await outcomesOf(new World().isolate(), users)).toEqual(['imported', 'EXTERNAL_ID_TWICE'])
  })

  test('a user that was imported with another time of creation, and so under another id, is refused', async () => {
    const isolate = new World().isolate()
    const user = newcomer()
    const [item] = await send(isolate, [user])
    const [again] = await send(isolate, [{ ...user, createdAt: '2020-01-01T00:00:00Z' }])
    expect(again).toMatchObject({ outcome: 'refused', code: 'EXTERNAL_ID_TAKEN' })
    expect(again!.detail).toContain(item!.id)
    await expectClaimsOfAccounts()
  })
})

// ── crashes ───────────────────────────────────────────────────────────────────────────────────────

/** Where an import crashes, and whether its users' rows are committed by then. */
const deaths = [
  { operation: 'claims.reserve-group', moment: 'before', committed: false },
  { operation: 'imports.commit', moment: 'before', committed: false },
  { operation: 'imports.commit', moment: 'after', committed: true },
  { operation: 'claims.confirm-group', moment: 'before', committed: true },
] as const

describe.each(deaths)(
  'an import that crashes $moment $operation, on one of the shards',
  ({ operation, moment, committed }) => {
    const die = async (world: World, users: ImportRecord[]) => {
      const isolate = world.isolate()
      const hold = isolate.holdAt(operation, moment)
      void send(isolate, users)
      await hold.reached
      await scheduler.wait(50) // the other shard's batch
      return hold
    }

    test.each([
      ['at once', 0, false],
      ['when the cron has settled them', RESERVATION_MS + 1, true],
    ])('sent again %s: each user exists once', async (_when, waitMs, isSettled) => {
      const world = new World()
      const users = newcomers(6)
      await die(world, users)
      world.clock.advance(waitMs)
      if (isSettled) await world.isolate().cron()
      const outcomes = await sendUntilDecided(world.isolate(), users)
      expect(outcomes.every((outcome) => outcome === 'imported' || outcome === 'there')).toBe(true)
      expect((await rows('accounts')).map(({ email }) => email).toSorted()).toEqual(
        users.map(({ email }) => email).toSorted(),
      )
      await expectClaimsOfAccounts()
    })

    test('never sent again: housekeeping leaves no claim without its account', async () => {
      const world = new World()
      await die(world, newcomers(6))
      await housekeeping(world)
      await expectClaimsOfAccounts()
      if (committed) expect((await rows('accounts')).length).toBeGreaterThan(0)
    })

    test('a sign-up takes the e-mail address of one after its reservation has expired, and then the import wakes', async () => {
      const world = new World()
      const users = newcomers(6)
      const hold = await die(world, users)
      world.clock.advance(RESERVATION_MS + 1)
      const results: string[] = []
      for (const { email } of users) {
        const isolate = world.isolate()
        const input = { ...somebody(), email }
        try {
          await signUp(isolate.tiers, input, { origin: 'http://localhost', userAgent: '', retry: null })
          results.push('signed up')
        } catch (error) {
          if (!hasCode(error, 'EMAIL_TAKEN')) throw error
          results.push('taken')
        }
        await isolate.afterResponse()
      }
      hold.letGo()
      await scheduler.wait(200)
      await housekeeping(world)
      await expectClaimsOfAccounts()
      const owners = (await rows('accounts')).map(({ email }) => email)
      expect(owners.toSorted()).toEqual(users.map(({ email }) => email).toSorted())
      expect(await sendUntilDecided(world.isolate(), users)).toEqual(
        results.map((result) => (result === 'taken' ? 'there' : 'EMAIL_TAKEN')),
      )
      await expectClaimsOfAccounts()
    })
  },
)

describe('concurrent imports', () => {
  test('one request five times, over five isolates: each user exists once', async () => {
    const world = new World()
    const users = newcomers(40)
    const all = await Promise.all(Array.from({ length: 5 }, () => sendUntilDecided(world.isolate(), users)))
    const first = users.map((_, index) => all.filter((outcomes) => outcomes[index] === 'imported').length)
    expect(first).toEqual(Array(40).fill(1))
    expect(all.flat().filter((outcome) => outcome !== 'imported' && outcome !== 'there')).toEqual([])
    expect(await rowCounts()).toEqual({ accounts: 40, profiles: 40, claim_attempts: 40, claims: 120 })
    await expectClaimsOfAccounts()
  })

  test('two sources want the same e-mail addresses and handles, crosswise: one user gets each, and none gets only half', async () => {
    const world = new World()
    const one = newcomers(20)
    const other = one.map((user, index) => newcomer({ email: user.email, handle: one.at(index - 1)!.handle }))
    const [isolate, second] = [world.isolate(), world.isolate()]
    await Promise.all([send(isolate, one), send(second, other)])
    await housekeeping(world)
    await sendUntilDecided(isolate, one)
    await sendUntilDecided(second, other)
    await housekeeping(world)
    await expectClaimsOfAccounts()
    expect((await rows('accounts')).length).toBeGreaterThanOrEqual(10)
  })

  test('sign-ups for the same e-mail addresses and handles: each value ends with one account', async () => {
    const world = new World()
    const users = newcomers(10)
    const signingUp = users.map(async ({ email, handle }, index) => {
      const isolate = world.isolate()
      const input = { ...somebody(), ...(index % 2 === 0 ? { email } : { handle }) }
      try {
        await signUp(isolate.tiers, input, { origin: 'http://localhost', userAgent: '', retry: null })
        await isolate.afterResponse()
        return 'signed up'
      } catch (error) {
        if (hasCode(error, 'EMAIL_TAKEN', 'HANDLE_TAKEN')) return 'taken'
        throw error
      }
    })
    const importing = sendUntilDecided(world.isolate(), users)
    const signed = await Promise.all(signingUp)
    const imported = await importing
    expect(imported).toEqual(
      signed.map((result, index) =>
        result === 'taken' ? 'imported' : index % 2 === 0 ? 'EMAIL_TAKEN' : 'HANDLE_TAKEN',
      ),
    )
    await housekeeping(world)
    await expectClaimsOfAccounts()
  })

  test('a user whom one request refuses and an equal request commits is imported', async () => {
    const world = new World()
    const user = newcomer()
    // The handle belongs to a sign-up when the first request asks, and is free when the second does.
    const person = { ...somebody(), handle: user.handle }
    const first = world.isolate()
    await signUp(first.tiers, person, { origin: 'http://localhost', userAgent: '', retry: null })
    await first.afterResponse()
    const hold = first.holdAt('claims.bar-group', 'before')
    const sent = send(first, [user])
    await hold.reached
    await emptyOf(person.email)
    expect(await outcomesOf(world.isolate(), [user])).toEqual(['imported'])
    hold.letGo()
    expect((await sent).map(({ outcome }) => outcome)).toEqual(['there'])
    await expectClaimsOfAccounts()
  })

  test('barred by a refused request, its slower equal cannot commit', async () => {
    const world = new World()
    const user = newcomer()
    const slow = world.isolate()
    const hold = slow.holdAt('imports.commit', 'before')
    const sent = send(slow, [user])
    await hold.reached
    // Its handle's reservation expires, and a sign-up takes the handle, so the second request is refused.
    world.clock.advance(RESERVATION_MS + 1)
    const isolate = world.isolate()
    const person = { ...somebody(), handle: user.handle }
    await signUp(isolate.tiers, person, { origin: 'http://localhost', userAgent: '', retry: null })
    await isolate.afterResponse()
    expect(await outcomesOf(world.isolate(), [user])).toEqual(['HANDLE_TAKEN'])
    hold.letGo()
    expect((await sent).map(({ outcome }) => outcome)).toEqual(['busy'])
    await housekeeping(world)
    await expectClaimsOfAccounts()
  })
})

describe('sent again with another handle, as after a correction', () => {
  const corrected = (users: ImportRecord[]) => users.map((user) => ({ ...user, handle: `${user.handle}_too` }))
  const handles = async () => (await rows('profiles')).map(({ handle }) => handle).toSorted()
  const handlesOf = (users: ImportRecord[]) => users.map(({ handle }) => handle).toSorted()

  test.each(deaths)(
    'when the first import has crashed $moment $operation: users without rows get the new handle, and the old one is free',
    async ({ operation, moment }) => {
      const world = new World()
      const users = newcomers(6)
      const dying = world.isolate()
      const hold = dying.holdAt(operation, moment)
      void send(dying, users)
      await hold.reached
      await scheduler.wait(50) // the other shard's batch
      world.clock.advance(RESERVATION_MS + 1)
      const outcomes = await sendUntilDecided(world.isolate(), corrected(users))
      const expected = users.map(({ handle }, index) => (outcomes[index] === 'there' ? handle : `${handle}_too`))
      expect(await handles()).toEqual(expected.toSorted())
      await housekeeping(world)
      await expectClaimsOfAccounts()
      hold.letGo()
      await scheduler.wait(200)
      await housekeeping(world)
      await expectClaimsOfAccounts()
      expect(await handles()).toEqual(expected.toSorted())
    },
  )

  test('a sign-up gets the old handle before the cron has run', async () => {
    const world = new World()
    const user = newcomer()
    const dying = world.isolate()
    const hold = dying.holdAt('imports.commit', 'before')
    void send(dying, [user])
    await hold.reached
    world.clock.advance(RESERVATION_MS + 1)
    expect(await sendUntilDecided(world.isolate(), corrected([user]))).toEqual(['imported'])
    const isolate = world.isolate()
    const person = { ...somebody(), handle: user.handle }
    await signUp(isolate.tiers, person, { origin: 'http://localhost', userAgent: '', retry: null })
    await isolate.afterResponse()
    await expectClaimsOfAccounts()
  })

  test('committed by the first while the second was frozen before its own commit: the user exists, and keeps one handle', async () => {
    const world = new World()
    const users = newcomers(6)
    const slow = world.isolate()
    const hold = slow.holdAt('imports.commit', 'before')
    const sent = send(slow, corrected(users))
    await hold.reached
    await scheduler.wait(50) // the other shard's batch
    world.clock.advance(RESERVATION_MS + 1)
    const first = await sendUntilDecided(world.isolate(), users)
    // A day later the bars are deleted, too.
    await runEverywhere("DELETE FROM claim_attempts WHERE outcome = 'barred'")
    hold.letGo()
    const outcomes = (await sent).map(({ outcome }) => outcome)
    expect(outcomes).toEqual(first.map((outcome) => (outcome === 'imported' ? 'there' : 'imported')))
    expect(first).toContain('imported')
    await expectClaimsOfAccounts()
  })

  test('both at once, repeatedly: each user exists once, with the claims of one of the two', async () => {
    const world = new World()
    const users = newcomers(20)
    const sent = Array.from({ length: 4 }, (_, n) => send(world.isolate(), n % 2 === 0 ? users : corrected(users)))
    await Promise.all(sent)
    world.clock.advance(RESERVATION_MS + 1)
    await sendUntilDecided(world.isolate(), users)
    await housekeeping(world)
    await expectClaimsOfAccounts()
    expect(await rowCounts()).toMatchObject({ accounts: 20, profiles: 20, claims: 60 })
    expect((await rows('claim_attempts', "outcome = 'taken'")).length).toBe(20)
  })

  test('after the import: the user is unchanged', async () => {
    const world = new World()
    const users = newcomers(6)
    await send(world.isolate(), users)
    const before = await everything()
    expect(await outcomesOf(world.isolate(), corrected(users))).toEqual(Array(6).fill('there'))
    expect(await everything()).toEqual(before)
    expect(await handles()).toEqual(handlesOf(users))
  })
})

describe('a crashed sign-up has reserved what an import wants', () => {
  const origin = { origin: 'http://localhost', userAgent: '', retry: null }

  test.each([
    ['before it committed: the import gets it, and the sign-up is refused when it wakes', 'sign-up.commit', 'before'],
    ['after it committed, unconfirmed: the account keeps it', 'sign-up.commit', 'after'],
  ] as const)('%s', async (_name, operation, moment) => {
    const world = new World()
    const user = newcomer()
    const dying = world.isolate()
    const hold = dying.holdAt(operation, moment)
    const signedUp = signUp(dying.tiers, { ...somebody(), email: user.email, handle: user.handle }, origin).then(
      () => 'signed up',
      (error: unknown) => (hasCode(error, 'EMAIL_TAKEN', 'HANDLE_TAKEN') ? 'taken' : String(error)),
    )
    await hold.reached
    expect(await outcomesOf(world.isolate(), [user]), 'as long as it is reserved').toEqual(['CLAIM_RESERVED'])
    world.clock.advance(RESERVATION_MS + 1)
    const isFirst = moment === 'before'
    expect(await sendUntilDecided(world.isolate(), [user])).toEqual([isFirst ? 'imported' : 'EMAIL_TAKEN'])
    hold.letGo()
    expect(await signedUp).toBe(isFirst ? 'taken' : 'signed up')
    await housekeeping(world)
    await expectClaimsOfAccounts()
    expect(await rows('accounts')).toHaveLength(1)
  })
})

/** Deletes all rows and claims of an account, because the application has no deletion yet. */
async function emptyOf(email: string): Promise<void> {
  const [account] = await rows('accounts', `email = '${email}'`)
  for (const table of ['accounts', 'profiles']) await runEverywhere(`DELETE FROM ${table} WHERE id = ?`, account!.id)
  await runEverywhere('DELETE FROM claims WHERE owner_id = ?', account!.id)
}

describe('a retired handle', () => {
  const DAYS_30_MS = 30 * 86_400_000

  const retired = async () => {
    const world = new World()
    const ada = await member(world)
    const isolate = world.isolate()
    await changeHandle(isolate.tiers, ada.session, 'ada_lovelace')
    await isolate.afterResponse()
    return { world, handle: ada.handle }
  }

  test('is refused to an import, like a taken one, until 30 days are over', async () => {
    const { world, handle } = await retired()
    expect(await outcomesOf(world.isolate(), [newcomer({ handle })])).toEqual(['HANDLE_TAKEN'])
    world.clock.advance(DAYS_30_MS)
    expect(await outcomesOf(world.isolate(), [newcomer({ handle })])).toEqual(['imported'])
  })

  test('of an imported user stays retired if the user is imported again', async () => {
    const world = new World()
    const given = newcomer()
    const [imported] = await send(world.isolate(), [given])
    const key = claimKey({ kind: 'handle', value: given.handle })
    const { tiers } = world.isolate()
    const minted = tiers.sessions.mint(imported!.id!, '')
    const database = tiers.shards.of(imported!.id!)
    await tiers.sessions.insert(database, minted, { sql: '1', values: [] }).run()
    const isolate = world.isolate()
    await changeHandle(isolate.tiers, minted, 'ada_lovelace')
    await isolate.afterResponse()
    expect(await outcomesOf(world.isolate(), [given])).toEqual(['there'])
    expect(await rows('claims', `key = '${key}'`)).toMatchObject([{ state: 'retired' }])
  })
})

describe('verification', () => {
  test('finds missing users, differences, and claims that are another user’s or not confirmed', async () => {
    const { tiers } = new World().isolate()
    const users = [...newcomers(5), newcomer({ bio: 'Still here.', emailVerifiedAt: '2020-01-01T00:00:00.000Z' })]
    const items = await importUsers(tiers, { source, users })
    const verify = async () =>
      (await verifyUsers(tiers, { source, users: [...users, newcomer()] })).map(({ id, isHere, differences }) =>
        isHere ? [id, ...differences] : null,
      )
    expect(await verify()).toEqual([...items.map(({ id }) => [id]), null])

    await runEverywhere("UPDATE profiles SET display_name = 'Other', bio = 'x' WHERE id = ?", items[0]!.id)
    await runEverywhere("UPDATE claims SET state = 'reserved' WHERE owner_id = ? AND kind = 'email'", items[1]!.id)
    await runEverywhere(
      "UPDATE claims SET owner_id = ? WHERE owner_id = ? AND kind = 'handle'",
      items[0]!.id,
      items[2]!.id,
    )
    await runEverywhere("DELETE FROM claims WHERE owner_id = ? AND kind = 'external'", items[3]!.id)
    await runEverywhere('DELETE FROM profiles WHERE id = ?', items[4]!.id)
    expect(await verify()).toEqual([
      [items[0]!.id, 'displayName', 'bio'],
      [items[1]!.id, 'claim email'],
      [items[2]!.id, 'claim handle'],
      [items[3]!.id, 'claim external'],
      null,
      [items[5]!.id],
      null,
    ])
  })
})
