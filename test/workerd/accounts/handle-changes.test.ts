import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { logIn } from '../../../src/app/accounts/accounts.ts'
import { changeHandle } from '../../../src/app/accounts/handle-changes.ts'
import { signUp } from '../../../src/app/accounts/sign-up.ts'
import { getByHandle, type ProfileTiers, updateProfile } from '../../../src/app/profiles/profiles.ts'
import { hasCode } from '../../../src/core/errors.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { Claims, claimKey } from '../../../src/sharding/claims.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { emptyShards, everything, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody } from '../../support/worker-isolate.ts'

const DAY_MS = 86_400_000
const RESERVATION_MS = 60_000

beforeEach(emptyShards)

/** The new handle, or the error's code. The jobs run unless `left`. */
async function rename(world: World, { session }: Member, handle: string, isolate = world.isolate()): Promise<string> {
  try {
    await changeHandle(isolate.tiers, session, handle)
    await isolate.afterResponse()
    return handle
  } catch (error) {
    if (hasCode(error, 'HANDLE_TAKEN', 'TOO_MANY_HANDLES', 'CONFLICT')) return error.code
    throw error
  }
}

/** The user's id, or the error's code. */
async function joins(world: World, handle: string): Promise<string> {
  const isolate = world.isolate()
  try {
    const request = { origin: 'http://localhost', userAgent: '', retry: null }
    const { userId } = await signUp(isolate.tiers, { ...somebody(), handle }, request)
    await isolate.afterResponse()
    return userId
  } catch (error) {
    if (hasCode(error, 'HANDLE_TAKEN')) return error.code
    throw error
  }
}

const claimOf = async (handle: string) =>
  (await rows('claims', `key = '${claimKey({ kind: 'handle', value: handle })}'`)).map(({ owner_id, state }) => ({
    owner_id,
    state,
  }))[0] ?? null

const handleOf = async ({ userId }: Member) => (await rows('profiles', `id = '${userId}'`))[0]!.handle

const finds = async ({ tiers }: TestIsolate, handle: string) => {
  const shown = await getByHandle({ ...tiers, userCounts: {} } as ProfileTiers, handle).catch((error) => error.code)
  return typeof shown === 'string' ? shown : shown.user.id
}

/** Sessions end after 14 days without use, but these users use theirs. */
async function later(world: World, ms: number): Promise<void> {
  world.clock.advance(ms)
  await runEverywhere('UPDATE sessions SET idle_at = ?1, expires_at = ?1', world.clock.now() + DAY_MS)
}

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

describe('a change of the handle', () => {
  test('moves the profile and its claim; the old handle is unknown at once, and kept', async () => {
    const { world, ada } = await setUp()
    const [before] = await rows('profiles')
    const isolate = world.isolate()
    await changeHandle(isolate.tiers, ada.session, ' Ada_Lovelace')
    // Before any of its jobs has run.
    expect([await finds(isolate, ada.handle), await finds(isolate, 'ada_lovelace')]).toEqual(['NOT_FOUND', ada.userId])
    await isolate.afterResponse()
    expect(await rows('profiles')).toEqual([
      { ...before, handle: 'ada_lovelace', version: Number(before!.version) + 1 },
    ])
    expect(await claimOf('ada_lovelace')).toEqual({ owner_id: ada.userId, state: 'confirmed' })
    expect(await claimOf(ada.handle)).toEqual({ owner_id: ada.userId, state: 'retired' })
    expect([await finds(isolate, ada.handle), await finds(isolate, 'ada_lovelace')]).toEqual(['NOT_FOUND', ada.userId])
    expect(await rows('outbox')).toEqual([])
  })

  test('commits the purge of the user’s pages with it', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate({ settings: { cache: 'on' }, mode: 'queue' })
    await rename(world, ada, 'ada_lovelace', isolate)
    expect(world.queued.map(({ kind }) => kind)).toEqual(['claims.confirm', 'claims.retire', 'cache.purge'])
    expect(world.queued.at(-1)!.body).toEqual({ tag: `user:${ada.userId}` })
  })

  test('to the same handle, or to another spelling of it, writes nothing', async () => {
    const { world, ada } = await setUp()
    const before = await everything()
    for (const handle of [ada.handle, ada.handle.toUpperCase(), ` ${ada.handle} `]) await rename(world, ada, handle)
    expect(await everything()).toEqual(before)
  })

  test('to another user’s handle is refused, and writes nothing', async () => {
    const { world, ada } = await setUp()
    const bob = await member(world)
    const before = await everything()
    expect(await rename(world, ada, bob.handle)).toBe('HANDLE_TAKEN')
    expect(await everything()).toEqual(before)
  })

  test('that meets an edit of the profile is repeated, and retires only the handle that the account leaves', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('handles.commit', 'before', () =>
      updateProfile({ ...world.isolate().tiers, userCounts: {} } as ProfileTiers, ada.session, { bio: 'New.' }),
    )
    isolate.meanwhile('handles.commit', 'after', async () => expect(await rows('outbox')).toEqual([]))
    expect(await rename(world, ada, 'ada_lovelace', isolate)).toBe('ada_lovelace')
    expect(await rows('profiles')).toMatchObject([{ handle: 'ada_lovelace', bio: 'New.' }])
    expect(await claimOf(ada.handle)).toMatchObject({ state: 'retired' })
  })

  test('twice at once succeeds both times, as from a double click', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('handles.commit', 'before', () => rename(world, ada, 'ada_lovelace'))
    expect(await rename(world, ada, 'ada_lovelace', isolate)).toBe('ada_lovelace')
    expect(await handleOf(ada)).toBe('ada_lovelace')
  })
})

describe('a retired handle', () => {
  test('and its return, again and again, leave one attempt per handle', async () => {
    const { world, ada } = await setUp()
    for (const handle of ['countess', 'lovelace', 'countess', 'lovelace', 'countess'])
      expect(await rename(world, ada, handle)).toBe(handle)
    const attempts = await rows('claim_attempts', "id LIKE '%.handle-%'")
    expect(attempts.map(({ id, outcome }) => [String(id).at(-1), outcome]).sort()).toEqual([
      ['1', 'given-up'],
      ['2', 'taken'],
    ])
  })

  test('that is frozen while the user takes and leaves the handle keeps no claim without its account', async () => {
    const { world, ada } = await setUp()
    const slow = world.isolate()
    const hold = slow.holdAt('handles.read', 'after')
    const outcome = rename(world, ada, 'countess', slow)
    await hold.reached
    for (const handle of ['countess', 'lovelace']) expect(await rename(world, ada, handle)).toBe(handle)
    hold.letGo()
    expect(await outcome).toBe('countess')
    await later(world, RESERVATION_MS + 1)
    await world.isolate().cron()
    expect(await handleOf(ada)).toBe('countess')
    expect([await claimOf('countess'), await claimOf('lovelace')]).toEqual([
      { owner_id: ada.userId, state: 'confirmed' },
      { owner_id: ada.userId, state: 'retired' },
    ])
  })

  test('is taken by nobody else for 30 days, then by a sign-up, before or after the cron has released it', async () => {
    const { world, ada } = await setUp()
    const bob = await member(world)
    await rename(world, ada, 'ada_lovelace')
    await later(world, 30 * DAY_MS - RESERVATION_MS)
    await world.isolate().cron()
    expect(await joins(world, ada.handle)).toBe('HANDLE_TAKEN')
    expect(await rename(world, bob, ada.handle)).toBe('HANDLE_TAKEN')
    await later(world, RESERVATION_MS)
    expect(await claimOf(ada.handle)).toMatchObject({ state: 'retired' })
    const userId = await joins(world, ada.handle)
    expect(await claimOf(ada.handle)).toEqual({ owner_id: userId, state: 'confirmed' })
  })

  test('is released by the cron after 30 days', async () => {
    const { world, ada } = await setUp()
    await rename(world, ada, 'ada_lovelace')
    await later(world, 30 * DAY_MS)
    await world.isolate().cron()
    expect(await claimOf(ada.handle)).toBeNull()
    expect(await claimOf('ada_lovelace')).toMatchObject({ state: 'confirmed' })
  })

  test('is taken back by its former owner, and then never released', async () => {
    const { world, ada } = await setUp()
    await rename(world, ada, 'ada_lovelace')
    await later(world, 29 * DAY_MS)
    expect(await rename(world, ada, ada.handle)).toBe(ada.handle)
    await later(world, 60 * DAY_MS)
    await world.isolate().cron()
    expect(await claimOf(ada.handle)).toEqual({ owner_id: ada.userId, state: 'confirmed' })
    expect(await claimOf('ada_lovelace')).toBeNull()
  })

  const deaths = [
    ['claims.bar', 'after'],
    ['claims.contest-handle', 'after'],
    ['handles.commit', 'before'],
    ['handles.commit', 'after'],
  ] as const
  test.each(deaths)(
    'whose return crashes at %s (%s) is still kept, and can be taken back',
    async (operation, moment) => {
      const { world, ada } = await setUp()
      await rename(world, ada, 'ada_lovelace')
      const dying = world.isolate()
      const hold = dying.holdAt(operation, moment)
      void rename(world, ada, ada.handle, dying)
      await hold.reached
      await later(world, RESERVATION_MS + 1)
      await world.isolate().cron()
      expect(await joins(world, ada.handle)).toBe('HANDLE_TAKEN')
      expect(await rename(world, ada, ada.handle)).toBe(ada.handle)
      await later(world, 31 * DAY_MS)
      await world.isolate().cron()
      expect(await claimOf(ada.handle)).toEqual({ owner_id: ada.userId, state: 'confirmed' })
    },
  )

  test('whose return committed without its jobs is confirmed at the end of its time, not released', async () => {
    const { world, ada } = await setUp()
    await rename(world, ada, 'ada_lovelace')
    await changeHandle(world.isolate().tiers, ada.session, ada.handle) // its jobs are lost with the isolate
    await world.isolate().tiers.shards.of(ada.userId).prepare('DELETE FROM outbox').run()
    await later(world, 30 * DAY_MS)
    expect(await joins(world, ada.handle)).toBe('HANDLE_TAKEN')
    expect(await claimOf(ada.handle)).toEqual({ owner_id: ada.userId, state: 'confirmed' })
  })

  test('cannot be taken back while its retirement is still to come, and the user is told to wait', async () => {
    const { world, ada } = await setUp()
    await changeHandle(world.isolate().tiers, ada.session, 'ada_lovelace')
    expect(await rename(world, ada, ada.handle)).toBe('CONFLICT')
    expect(await claimOf(ada.handle)).toMatchObject({ state: 'confirmed' })
  })

  test('late and repeated jobs of an earlier change do nothing to a handle that was taken back', async () => {
    const { world, ada } = await setUp()
    const { shards, clock } = world.isolate().tiers
    const claims = new Claims(shards, clock)
    const key = claimKey({ kind: 'handle', value: ada.handle })
    const database = shards.of(key, { keyspace: 'claims' })
    const first = {
      key,
      ownerId: ada.userId,
      attemptId: String((await rows('claims', `key = '${key}'`))[0]!.attempt_id),
    }
    await rename(world, ada, 'ada_lovelace')
    // The confirmation of the sign-up arrives after the retirement.
    await claims.confirmStatement(database, key, first).run()
    expect(await claimOf(ada.handle)).toMatchObject({ state: 'retired' })
    await rename(world, ada, ada.handle)
    const before = await everything()
    await claims.retireStatement(database, first, clock.now() + DAY_MS).run()
    await claims.giveUpStatement(database, first).run()
    await claims.confirmStatement(database, key, first).run()
    expect(await everything()).toEqual(before)
  })

  test('counts: an account keeps three, may take one back, and may leave again when one is free', async () => {
    const { world, ada } = await setUp()
    for (const handle of ['ada_b', 'ada_c', 'ada_d']) {
      expect(await rename(world, ada, handle)).toBe(handle)
      await later(world, DAY_MS)
    }
    const error = await changeHandle(world.isolate().tiers, ada.session, 'ada_e').catch((reason) => reason)
    expect([error.code, error.status, error.errors[0].pointer]).toEqual(['TOO_MANY_HANDLES', 409, '/handle'])
    for (const name of [`@${ada.handle}`, '@ada_b', '@ada_c', '30 days']) expect(error.message).toContain(name)
    expect(await claimOf('ada_e')).toBeNull()
    expect(await rename(world, ada, 'ada_b')).toBe('ada_b')
    expect(await rename(world, ada, 'ada_e')).toBe('TOO_MANY_HANDLES')
    await later(world, 27 * DAY_MS)
    expect(await rename(world, ada, 'ada_e')).toBe('ada_e')
    const held = (await rows('claims', "kind = 'handle'")).filter(({ expires_at, state }) => {
      return state === 'confirmed' || Number(expires_at) > world.clock.now()
    })
    expect(held).toHaveLength(1 + limits.handlesRetiredMax)
  })
})

describe('a log-in', () => {
  const logsIn = async (world: World, login: string, password: string) => {
    const isolate = world.isolate()
    const { userId } = await logIn(isolate.tiers, { login, password }, anyClient, null).catch((error) => ({
      userId: error.code as string,
    }))
    return { userId, calls: isolate.calls.map(({ operation }) => operation), isolate }
  }

  test('by the new handle works, and by the old one gets the answer and the calls of an unknown login', async () => {
    const { world, ada } = await setUp()
    const { password } = ada
    await changeHandle(world.isolate().tiers, ada.session, 'ada_lovelace')
    const unknown = await logsIn(world, 'nobody_at_all', password)
    const early = await logsIn(world, ada.handle, password) // before the old claim is retired
    await world.isolate().cron()
    world.clock.advance(limits.outboxSweepAfterMs)
    await world.isolate().cron()
    expect(await claimOf(ada.handle)).toMatchObject({ state: 'retired' })
    const late = await logsIn(world, ada.handle, password)
    for (const { userId, calls } of [early, late]) {
      expect(userId).toBe('WRONG_CREDENTIALS')
      expect(calls).toEqual(unknown.calls)
    }
    expect((await logsIn(world, 'ada_lovelace', password)).userId).toBe(ada.userId)
    expect((await logsIn(world, ada.email, password)).userId).toBe(ada.userId)
  })

  test('by a retired handle is counted in the slot of an unknown login, not in its former owner’s', async () => {
    const { world, ada } = await setUp()
    await rename(world, ada, 'ada_lovelace')
    await logsIn(world, ada.handle, ada.password)
    const [attempt] = await rows('password_attempts')
    expect(String(attempt!.id)).toMatch(/^[0-9a-f]{4}\.nobody\./)
    expect(slotOf(String(attempt!.id))).not.toBe(slotOf(ada.userId))
  })

  test('by a handle that the user is about to get is refused until the change commits', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    const hold = isolate.holdAt('handles.commit', 'before')
    const renamed = rename(world, ada, 'ada_lovelace', isolate)
    await hold.reached
    expect((await logsIn(world, 'ada_lovelace', ada.password)).userId).toBe('WRONG_CREDENTIALS')
    hold.letGo()
    expect(await renamed).toBe('ada_lovelace')
  })
})

test('the session stays, and a mailed link of before the change still works', async () => {
  const { world, ada } = await setUp()
  await rename(world, ada, 'ada_lovelace')
  const { session } = await world.isolate().tiers.sessions.authenticate(ada.token, null)
  expect(session).toEqual(ada.session)
  expect(world.mails.at(-1)!.text).toContain('/verify-email/')
})
