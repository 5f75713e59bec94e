import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { changePassword, logIn } from '../../../src/app/accounts/accounts.ts'
import { hasCode } from '../../../src/core/errors.ts'
import type { Session } from '../../../src/sessions/sessions.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { writeRow } from '../../support/session-writes.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

const DAY = 86_400_000
const NEXT = 'another pass phrase'

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

const idOf = (token: string): string => token.split('.')[1]!
const sessionIds = async () => (await rows('sessions')).map(({ id }) => id)

async function enter(world: World, { email, password }: Member, replaced: string | null, key: string | null = null) {
  const isolate = world.isolate()
  const retry = key === null ? null : { key, request: 'log-in' }
  const { token } = await logIn(isolate.tiers, { login: email, password }, anyClient, retry, replaced)
  await isolate.settled()
  return token
}

const write = (world: World, session: Session) =>
  writeRow(world.isolate().tiers, session, 'a text').then(
    () => 'written',
    (error) => (hasCode(error, 'SESSION_ENDED') ? 'refused' : String(error)),
  )

const isIn = async (world: World, token: string, stamp: string | null = null) =>
  (await world.isolate().tiers.sessions.authenticate(token, stamp)).session !== null

describe('a log-in with the session cookie of', () => {
  test('the same user starts a new session, and ends the old one in the same batch', async () => {
    const { world, ada } = await setUp()
    const token = await enter(world, ada, ada.token)
    expect(idOf(token)).not.toBe(ada.session.id)
    expect(await sessionIds()).toEqual([idOf(token)])
    expect(await write(world, ada.session)).toBe('refused')
    expect(world.kv.calls).toContain(`delete session:${ada.session.id}`)
  })

  test('another user ends that session after the response', async () => {
    const { world, ada } = await setUp()
    const eve = await member(world)
    const token = await enter(world, ada, eve.token)
    expect((await sessionIds()).toSorted()).toEqual([ada.session.id, idOf(token)].toSorted())
    expect(await write(world, eve.session)).toBe('refused')
  })

  test.each([
    ['the same user', true],
    ['another user', false],
  ])('%s, but with a wrong secret, ends no session, because it may be forged', async (_name, isOwn) => {
    const { world, ada } = await setUp()
    const eve = await member(world)
    const { userId, session } = isOwn ? ada : eve
    await enter(world, ada, `${userId}.${session.id}.${'A'.repeat(43)}`)
    expect(await sessionIds()).toHaveLength(3)
  })

  test('the same user, and a wrong password, ends no session', async () => {
    const { world, ada } = await setUp()
    await expect(enter(world, { ...ada, password: NEXT }, ada.token)).rejects.toThrow()
    expect(await write(world, ada.session)).toBe('written')
  })

  test('the same user, whose password changes before the new session is inserted, ends no session', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('accounts.log-in', 'before', () =>
      changePassword(
        world.isolate().tiers,
        ada.session,
        { current: ada.password, next: NEXT },
        anyClient.origin,
        false,
      ),
    )
    const late = logIn(isolate.tiers, { login: ada.email, password: ada.password }, anyClient, null, ada.token)
    await expect(late).rejects.toMatchObject({ code: 'WRONG_CREDENTIALS' })
    expect(await sessionIds()).toEqual([ada.session.id])
  })

  test('the log-in that it repeats does not end its own session', async () => {
    const { world, ada } = await setUp()
    const first = await enter(world, ada, ada.token, 'key')
    const again = await enter(world, ada, first, 'key')
    expect(idOf(again)).toBe(idOf(first))
    expect(await sessionIds()).toEqual([idOf(first)])
  })
})

describe('a changed password', () => {
  const change = async (world: World, { session, password }: Member, rotates: boolean) => {
    const isolate = world.isolate()
    const rotated = await changePassword(
      isolate.tiers,
      session,
      { current: password, next: NEXT },
      anyClient.origin,
      rotates,
    )
    await isolate.settled()
    return rotated
  }

  test('gives a browser a new session: the old one writes no more, and reads for less than a minute', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    expect((await isolate.tiers.sessions.authenticate(ada.token, ada.stamp)).session).toEqual(ada.session)
    const rotated = (await change(world, ada, true))!
    expect(await sessionIds()).toEqual([rotated.session.id])
    expect(rotated.session.id).not.toBe(ada.session.id)
    expect(rotated.token.split('.')[2]).not.toBe(ada.token.split('.')[2])
    expect(await write(world, ada.session)).toBe('refused')
    expect(await write(world, rotated.session)).toBe('written')
    expect(await isIn(world, rotated.token, rotated.stamp)).toBe(true)
    world.clock.advance(59_999)
    expect((await isolate.tiers.sessions.authenticate(ada.token, ada.stamp)).session).toEqual(ada.session)
    world.clock.advance(1)
    for (const one of [isolate, world.isolate()])
      expect((await one.tiers.sessions.authenticate(ada.token, ada.stamp)).session).toBeNull()
  })

  test('keeps the session’s data, its start and its absolute limit, and renews its idle limit', async () => {
    const { world, ada } = await setUp()
    await world.isolate().tiers.sessions.writeData(ada.session, { cart: ['a book'] })
    const [before] = await rows('sessions')
    world.clock.advance(10 * DAY)
    const { session } = (await change(world, ada, true))!
    const now = world.clock.now()
    expect(await rows('sessions')).toEqual([
      {
        ...before,
        id: session.id,
        secret_hash: expect.not.stringMatching(String(before!.secret_hash)),
        last_seen_at: now,
        idle_at: now + 14 * DAY,
      },
    ])
    expect(await world.isolate().tiers.sessions.readData(session)).toEqual({ cart: ['a book'] })
  })

  test('keeps the session of a Bearer client, whose token cannot be replaced in an answer without a body', async () => {
    const { world, ada } = await setUp()
    expect(await change(world, ada, false)).toBeNull()
    expect(await sessionIds()).toEqual([ada.session.id])
    expect(await isIn(world, ada.token)).toBe(true)
  })

  test('that another request changes first rotates nothing', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('accounts.change-password', 'before', () =>
      changePassword(
        world.isolate().tiers,
        ada.session,
        { current: ada.password, next: NEXT },
        anyClient.origin,
        false,
      ),
    )
    const late = changePassword(
      isolate.tiers,
      ada.session,
      { current: ada.password, next: 'a third one' },
      anyClient.origin,
      true,
    )
    await expect(late).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(await sessionIds()).toEqual([ada.session.id])
  })
})

describe('over HTTP', () => {
  const cookies = (answer: WorkerAnswer): string =>
    answer.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .filter((pair) => !pair!.endsWith('='))
      .join('; ')
  const tokenIn = (cookie: string): string => /__Host-session=([^;]+)/.exec(cookie)![1]!
  const sendForm = (path: string, fields: Record<string, string>, cookie: string) =>
    workerIsolate().request('POST', path, {
      body: new URLSearchParams(fields).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'http://localhost', cookie },
    })
  const signUp = async () => {
    const input = somebody()
    const answer = await workerIsolate().request('POST', '/api/v1/accounts', { json: input })
    expect(answer.status).toBe(201)
    return { ...input, cookie: cookies(answer) }
  }

  test.each(['/login', '/api/v1/sessions'])(
    'fixation: a victim who logs in at %s with an attacker’s cookie gets another session, and the attacker none',
    async (path) => {
      const [victim, attacker] = [await signUp(), await signUp()]
      const fields = { login: victim.handle, password: victim.password }
      const isForm = path === '/login'
      const answer = isForm
        ? await sendForm(path, fields, attacker.cookie)
        : await workerIsolate().request('POST', path, {
            json: fields,
            headers: { origin: 'http://localhost', cookie: attacker.cookie },
          })
      expect(answer.status).toBe(isForm ? 303 : 201)
      expect(tokenIn(cookies(answer))).not.toBe(tokenIn(attacker.cookie))
      const me = await workerIsolate().request('GET', '/api/v1/me', { token: tokenIn(attacker.cookie) })
      expect(me.status).toBe(401)
      const own = await workerIsolate().request('GET', '/api/v1/me', { token: tokenIn(cookies(answer)) })
      expect(own.json<{ user: { handle: string } }>().user.handle).toBe(victim.handle)
    },
  )

  test.each(['/api/v1/sessions', '/api/v1/accounts'])(
    'a program with a cookie jar keeps the session of its Bearer token after another one starts at %s',
    async (path) => {
      const user = await signUp()
      const token = tokenIn(user.cookie)
      const json = path === '/api/v1/accounts' ? somebody() : { login: user.handle, password: user.password }
      const headers = { cookie: user.cookie }
      expect((await workerIsolate().request('POST', path, { json, headers, token })).status).toBe(201)
      expect((await workerIsolate().request('GET', '/api/v1/me', { token })).status).toBe(200)
    },
  )

  test('a log-in with Sec-Fetch-Site and no Origin replaces the session of the cookie', async () => {
    const user = await signUp()
    const json = { login: user.handle, password: user.password }
    const headers = { cookie: user.cookie, 'sec-fetch-site': 'same-origin' }
    expect((await workerIsolate().request('POST', '/api/v1/sessions', { json, headers })).status).toBe(201)
    expect(await sessionIds()).toHaveLength(1)
  })

  test('a sign-up ends the session of the browser’s previous user', async () => {
    const first = await signUp()
    const second = somebody()
    expect((await sendForm('/signup', { ...second, idempotencyKey: 'key' }, first.cookie)).status).toBe(303)
    expect(await rows('sessions')).toHaveLength(1)
  })

  test('the form of a new password sets the cookies of the new session, and lists it as the current one', async () => {
    const user = await signUp()
    const fields = { current: user.password, next: NEXT }
    const answer = await sendForm('/settings/password', fields, user.cookie)
    expect(answer.status).toBe(200)
    const cookie = cookies(answer)
    expect(tokenIn(cookie)).not.toBe(tokenIn(user.cookie))
    expect(await sessionIds()).toEqual([idOf(tokenIn(cookie))])
    expect(answer.text).toContain('>This one<')
    const old = await workerIsolate().request('GET', '/api/v1/me', { token: tokenIn(user.cookie) })
    expect(old.status).toBe(401)
  })

  test('an answer to a write of the replaced session clears no cookies, because the browser may have new ones', async () => {
    const user = await signUp()
    const fields = { current: user.password, next: NEXT }
    const isolate = workerIsolate()
    const headers = { origin: 'http://localhost', cookie: user.cookie }
    await isolate.request('GET', '/api/v1/me', { headers })
    expect((await sendForm('/settings/password', fields, user.cookie)).status).toBe(200)
    // The first isolate has a stamp, so that its session statement refuses the write. The others find no session.
    const changes = {
      body: 'displayName=Late&bio=',
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
    }
    const late = [
      await isolate.request('POST', '/settings/profile', changes),
      await workerIsolate().request('POST', '/settings/profile', changes),
      await sendForm('/settings/password', fields, user.cookie),
    ]
    for (const { status, headers } of late) expect([status, headers.getSetCookie()]).toEqual([401, []])
    const page = await workerIsolate().request('GET', '/settings', { headers })
    expect(page.headers.get('set-cookie')).toMatch(/__Host-session=;.*Max-Age=0.*__Host-stamp=;.*Max-Age=0/i)
  })

  test('logging out with a session that has ended clears its cookies', async () => {
    const user = await signUp()
    const token = tokenIn(user.cookie)
    expect((await workerIsolate().request('DELETE', '/api/v1/sessions/current', { token })).status).toBe(204)
    const answer = await sendForm('/logout', {}, user.cookie)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect(answer.headers.get('set-cookie')).toMatch(/__Host-session=;.*Max-Age=0.*__Host-stamp=;.*Max-Age=0/i)
  })

  test('PUT /api/v1/me/password is 204 for both clients: with new cookies for a browser, and none for a Bearer token', async () => {
    const user = await signUp()
    const json = { current: user.password, next: NEXT }
    const headers = { origin: 'http://localhost', cookie: user.cookie }
    const byCookie = await workerIsolate().request('PUT', '/api/v1/me/password', { json, headers })
    expect(byCookie.status).toBe(204)
    const token = tokenIn(cookies(byCookie))
    const back = { current: NEXT, next: user.password }
    const byBearer = await workerIsolate().request('PUT', '/api/v1/me/password', { json: back, token })
    expect([byBearer.status, byBearer.headers.getSetCookie()]).toEqual([204, []])
    expect((await workerIsolate().request('GET', '/api/v1/me', { token })).status).toBe(200)
  })
})
