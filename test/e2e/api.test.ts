import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isUserId, slotOf } from '../../src/core/ids.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import type { ApiGiven, ApiProblem, SignedIn, User } from '../support/api-given.ts'
import { type Answer, askAs, type Bearer, type Client, type RequestOptions } from '../support/http-client.ts'
import { nounRoutes, ownerOf, pathOf } from '../support/noun-routes.ts'
import { documentedRoutes, faultsOf, type OpenApiDocument, routeOf } from '../support/openapi.ts'
import { OPERATOR_TOKEN, outboxesDrained, type Stack, startStack } from '../support/stack.ts'

type Sessions = { items: { id: string; current: boolean; userAgent: string }[] }

let stack: Stack
let document: OpenApiDocument
const seen = new Set<string>()

beforeAll(async () => {
  stack = await startStack({ vars: { LEASE_MS: '1000', GRACE_MS: '2000' } })
  document = (await stack.bearer().get('/api/openapi.json')).json()
})
afterAll(() => stack?.close())

/** A client that checks the status, shape and headers of each answer against the document. */
function held<T extends Client>(client: T): T {
  const request = client.request
  const checked = async (method: string, path: string, options?: RequestOptions): Promise<Answer> => {
    const answer = await request(method, path, options)
    const route = routeOf(document, method, path)
    expect(route, `${method} ${path} is documented`).not.toBeNull()
    expect(faultsOf(document, route!, answer)).toEqual([])
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers.get('server-timing')).toMatch(
      /^total;dur=\d+, d1;desc="\d+", kv;desc="\d+", directory;desc="\d+"$/,
    )
    expect(answer.headers.get('cache-control')).toMatch(/^(?:private, )?no-store$/)
    seen.add(`${route!.name} ${answer.status}`)
    return answer
  }
  return Object.assign(client, {
    request: checked,
    get: (path: string, options?: RequestOptions) => checked('GET', path, options),
    post: (path: string, json?: unknown, options?: RequestOptions) =>
      checked('POST', path, { ...options, ...(json === undefined ? {} : { json }) }),
  })
}

let people = 0
const PASSWORD = 'seven quiet herons'

function newPerson(): { email: string; handle: string; password: string } {
  people++
  return { email: `person${people}@example.com`, handle: `person_${people}`, password: PASSWORD }
}

async function signUp(person = newPerson()): Promise<Bearer & { user: User }> {
  const client = held(stack.bearer())
  const answer = await client.post('/api/v1/accounts', person)
  expect(answer.status).toBe(201)
  return Object.assign(client, { user: answer.json<SignedIn>().user })
}

async function logIn(login: string, password = PASSWORD): Promise<Bearer> {
  const client = held(stack.bearer())
  expect((await client.post('/api/v1/sessions', { login, password })).status).toBe(201)
  return client
}

function expectProblem(answer: Answer, status: number, code: string): ApiProblem {
  expect(answer.json()).toMatchObject({ status, code })
  expect(answer.status).toBe(status)
  return answer.json()
}

describe('accounts', () => {
  test('a sign-up answers with the user and a token, and the token signs in', async () => {
    const client = held(stack.bearer())
    const person = { email: '  Ada.Lovelace@Example.com ', handle: 'Ada_L', password: PASSWORD, displayName: ' Ada ' }
    const answer = await client.post('/api/v1/accounts', person)
    expect(answer.status).toBe(201)
    const { user, token } = answer.json<SignedIn>()
    expect(user).toMatchObject({ email: 'ada.lovelace@example.com', handle: 'ada_l', displayName: 'Ada', bio: '' })
    expect(user).toMatchObject({ avatar: null, followers: 0, following: 0, emailVerified: false })
    expect(isUserId(user.id)).toBe(true)
    expect(token.startsWith(`${user.id}.${slotOf(user.id)}`)).toBe(true)
    expect(answer.headers.get('x-causal-token')).not.toBeNull()
    expect((await client.get('/api/v1/me')).json()).toEqual({ user })
  })

  test('a browser gets its cookies, for this host only and inaccessible to scripts', async () => {
    const client = held(stack.browser())
    const answer = await client.post('/api/v1/accounts', newPerson())
    expect(answer.cookies.map(({ name }) => name)).toEqual(['__Host-session', '__Host-stamp', '__Host-causal'])
    for (const { attributes } of answer.cookies)
      expect(attributes.toSorted()).toEqual([
        'HttpOnly',
        expect.stringMatching(/^Max-Age=\d+$/),
        'Path=/',
        'SameSite=Lax',
        'Secure',
      ])
    expect((await client.get('/api/v1/me')).status).toBe(200)
    client.cookies.delete('__Host-session')
    expectProblem(await client.get('/api/v1/me'), 401, 'NOT_SIGNED_IN')
  })

  test('an e-mail address and a handle are taken in any case, and a refused sign-up reserves neither', async () => {
    const { user } = await signUp()
    const other = held(stack.bearer())
    const sameEmail = { ...newPerson(), email: user.email!.toUpperCase() }
    const refused = expectProblem(await other.post('/api/v1/accounts', sameEmail), 409, 'EMAIL_TAKEN')
    expect(refused.errors).toMatchObject([{ pointer: '/email' }])
    const sameHandle = { ...newPerson(), handle: user.handle.toUpperCase() }
    const again = expectProblem(await other.post('/api/v1/accounts', sameHandle), 409, 'HANDLE_TAKEN')
    expect(again.errors).toMatchObject([{ pointer: '/handle' }])
    await signUp({ ...sameHandle, handle: newPerson().handle })
    await signUp({ ...sameEmail, email: newPerson().email })
  })

  test('with an Idempotency-Key, two sign-ups create one account, and both tokens work', async () => {
    const person = newPerson()
    const headers = { 'idempotency-key': 'sign-up-once' }
    const first = held(stack.bearer())
    const second = held(stack.bearer())
    const one = (await first.post('/api/v1/accounts', person, { headers })).json<SignedIn>()
    const answer = await second.post('/api/v1/accounts', person, { headers })
    expect(answer.status).toBe(201)
    expect(answer.json<SignedIn>().user.id).toBe(one.user.id)
    expect(second.token).not.toBe(first.token)
    for (const client of [first, second]) expect((await client.get('/api/v1/me')).status).toBe(200)
    expect((await second.get('/api/v1/sessions')).json<Sessions>().items).toHaveLength(1)
    const otherBody = await held(stack.bearer()).post('/api/v1/accounts', newPerson(), { headers })
    expectProblem(otherBody, 422, 'IDEMPOTENCY_KEY_REUSED')
  })
})

describe('a handle', () => {
  test('changes at once; the old one is unknown, is taken by nobody else, and can be taken back', async () => {
    const client = await signUp()
    const { handle } = client.user
    const [next, other] = [newPerson().handle, await signUp()]
    const change = (wanted: string) => client.request('PUT', '/api/v1/me/handle', { json: { handle: wanted } })
    const taken = expectProblem(await change(other.user.handle.toUpperCase()), 409, 'HANDLE_TAKEN')
    expect(taken.errors).toMatchObject([{ pointer: '/handle' }])
    expect((await change(next.toUpperCase())).json()).toMatchObject({ user: { id: client.user.id, handle: next } })
    expect((await change(next)).status).toBe(200)
    expectProblem(await client.get(`/api/v1/users/${handle}`), 404, 'NOT_FOUND')
    expect((await client.get(`/api/v1/users/${next}`)).status).toBe(200)
    expectProblem(await held(stack.bearer()).post('/api/v1/accounts', { ...newPerson(), handle }), 409, 'HANDLE_TAKEN')
    expectProblem(
      await held(stack.bearer()).post('/api/v1/sessions', { login: handle, password: PASSWORD }),
      401,
      'WRONG_CREDENTIALS',
    )
    await logIn(next)
    await outboxesDrained(stack)
    expect((await change(handle)).json()).toMatchObject({ user: { handle } })
  })
})

describe('sessions', () => {
  test('a user logs in by handle or by e-mail, in any case', async () => {
    const { user } = await signUp()
    for (const login of [user.handle.toUpperCase(), ` ${user.email!.toUpperCase()}`]) {
      const answer = await held(stack.bearer()).post('/api/v1/sessions', { login, password: PASSWORD })
      expect(answer.status).toBe(201)
      expect(answer.json<SignedIn>().user.id).toBe(user.id)
    }
  })

  test('a wrong password and an unknown login get the same answer', async () => {
    const { user } = await signUp()
    const tries = [user.handle, 'nobody_here', 'nobody@example.com', '/../@'].map((login) =>
      held(stack.bearer()).post('/api/v1/sessions', { login, password: 'not this one' }),
    )
    const answers = (await Promise.all(tries)).map((answer) => expectProblem(answer, 401, 'WRONG_CREDENTIALS'))
    for (const { requestId, ...said } of answers) {
      expect(requestId).not.toBe('')
      const { requestId: _, ...first } = answers[0]!
      expect(said).toEqual(first)
    }
  })

  test('they are listed with their clients; one ends another, whose token is then refused', async () => {
    const client = await signUp()
    const phone = held(stack.bearer())
    const headers = { 'user-agent': 'A phone/1.0' }
    await phone.post('/api/v1/sessions', { login: client.user.handle, password: PASSWORD }, { headers })
    const { items } = (await client.get('/api/v1/sessions')).json<Sessions>()
    expect(items.map(({ current }) => current)).toEqual([false, true])
    expect(items[0]!.userAgent).toBe('A phone/1.0')
    expect((await client.request('DELETE', `/api/v1/sessions/${items[0]!.id}`)).status).toBe(204)
    expectProblem(await phone.request('PATCH', '/api/v1/me', { json: { bio: 'too late' } }), 401, 'NOT_SIGNED_IN')
    expectProblem(await client.request('DELETE', `/api/v1/sessions/${items[0]!.id}`), 404, 'NOT_FOUND')
    expect((await client.get('/api/v1/sessions')).json<Sessions>().items).toHaveLength(1)
  })

  test('another user’s session cannot be ended', async () => {
    const [client, other] = [await signUp(), await signUp()]
    const { items } = (await other.get('/api/v1/sessions')).json<Sessions>()
    expectProblem(await client.request('DELETE', `/api/v1/sessions/${items[0]!.id}`), 404, 'NOT_FOUND')
    expect((await other.get('/api/v1/me')).status).toBe(200)
  })

  test('logging out ends the session and deletes the browser’s cookies; dead ones go at the next read', async () => {
    const client = held(stack.browser())
    await client.post('/api/v1/accounts', newPerson())
    const before = new Map(client.cookies)
    const answer = await client.request('DELETE', '/api/v1/sessions/current')
    expect(answer.status).toBe(204)
    expect([...client.cookies.keys()]).toEqual(['__Host-causal'])
    for (const [name, value] of before) client.cookies.set(name, value)
    expectProblem(await client.request('PATCH', '/api/v1/me', { json: { bio: 'too late' } }), 401, 'NOT_SIGNED_IN')
    expect([...client.cookies.keys()].toSorted()).toEqual(['__Host-causal', '__Host-session', '__Host-stamp'])
    expectProblem(await client.get('/api/v1/me'), 401, 'NOT_SIGNED_IN')
    expect([...client.cookies.keys()]).toEqual(['__Host-causal'])
  })

  test('all others end together', async () => {
    const client = await signUp()
    const others = [await logIn(client.user.handle), await logIn(client.user.handle)]
    expect((await client.request('DELETE', '/api/v1/sessions')).status).toBe(204)
    for (const other of others) expectProblem(await other.get('/api/v1/me'), 401, 'NOT_SIGNED_IN')
    expect((await client.get('/api/v1/sessions')).json<Sessions>().items).toMatchObject([{ current: true }])
  })

  test('with an Idempotency-Key, two log-ins start one session', async () => {
    const { user } = await signUp()
    const headers = { 'idempotency-key': 'log-in-once' }
    const clients = [held(stack.bearer()), held(stack.bearer())]
    for (const client of clients)
      expect(
        (await client.post('/api/v1/sessions', { login: user.handle, password: PASSWORD }, { headers })).status,
      ).toBe(201)
    const ids = clients.map(({ token }) => token!.split('.')[1])
    expect(ids[0]).toBe(ids[1])
    for (const client of clients) expect((await client.get('/api/v1/sessions')).json<Sessions>().items).toHaveLength(2)
  })
})

// The mails are requested together, because a mail waits a second in its queue.
describe.concurrent('tokens that travel by mail', () => {
  const expire = async (userId: string) => {
    for (const database of stack.databases.values())
      await database.prepare('UPDATE mail_tokens SET expires_at = 1 WHERE user_id = ?').bind(userId).run()
  }

  test('an e-mail address is confirmed once by the mail of the sign-up, and once by a later one', async () => {
    const client = await signUp()
    const first = await stack.mailedToken('verify-email', client.user.id)
    expect((await client.post('/api/v1/email-verifications')).status).toBe(202)
    const second = await stack.mailedToken('verify-email', client.user.id, 2)
    expect(second).not.toBe(first)
    const visitor = held(stack.bearer())
    expect((await visitor.post(`/api/v1/email-verifications/${second}`)).status).toBe(204)
    expect((await client.get('/api/v1/me')).json()).toMatchObject({ user: { emailVerified: true } })
    expectProblem(await visitor.post(`/api/v1/email-verifications/${second}`), 404, 'NOT_FOUND')
    expect((await visitor.post(`/api/v1/email-verifications/${first}`)).status).toBe(204)
  })

  test('an expired token confirms nothing, and neither does a password reset’s', async () => {
    const client = await signUp()
    const token = await stack.mailedToken('verify-email', client.user.id)
    await expire(client.user.id)
    expectProblem(await client.post(`/api/v1/email-verifications/${token}`), 404, 'NOT_FOUND')
    await client.post('/api/v1/password-resets', { email: client.user.email })
    const reset = await stack.mailedToken('reset-password', client.user.id)
    expectProblem(await client.post(`/api/v1/email-verifications/${reset}`), 404, 'NOT_FOUND')
    expect((await client.get('/api/v1/me')).json()).toMatchObject({ user: { emailVerified: false } })
  })

  test('an e-mail address changes when the link to the new one is used, and the old one is free again', async () => {
    const client = await signUp()
    const other = await signUp()
    const wanted = newPerson()
    const ask = (email: string, password = PASSWORD) =>
      client.request('PUT', '/api/v1/me/email', { json: { email, password } })
    expectProblem(await ask(wanted.email, 'not this one'), 401, 'WRONG_CREDENTIALS')
    const taken = expectProblem(await ask(other.user.email!), 409, 'EMAIL_TAKEN')
    expect(taken.errors).toMatchObject([{ pointer: '/email' }])
    expect((await ask(` ${wanted.email.toUpperCase()}`)).status).toBe(202)
    expect((await client.get('/api/v1/me')).json()).toMatchObject({ user: { email: client.user.email } })
    const token = await stack.mailedToken('confirm-email', client.user.id)
    const visitor = held(stack.bearer())
    expectProblem(await visitor.post(`/api/v1/email-changes/${token}x`), 404, 'NOT_FOUND')
    expect((await visitor.post(`/api/v1/email-changes/${token}`)).status).toBe(204)
    expectProblem(await visitor.post(`/api/v1/email-changes/${token}`), 404, 'NOT_FOUND')
    expect((await client.get('/api/v1/me')).json()).toMatchObject({
      user: { email: wanted.email, emailVerified: true },
    })
    await outboxesDrained(stack)
    await signUp({ ...newPerson(), email: client.user.email! })
  })

  test('a new password is set once, which ends every session', async () => {
    const client = await signUp()
    const visitor = held(stack.bearer())
    const known = await visitor.post('/api/v1/password-resets', { email: ` ${client.user.email!.toUpperCase()}` })
    const unknown = await visitor.post('/api/v1/password-resets', { email: 'nobody@example.com' })
    expect([known.status, unknown.status]).toEqual([202, 202])
    const token = await stack.mailedToken('reset-password', client.user.id)
    const password = 'eight louder herons'
    expect((await visitor.post(`/api/v1/password-resets/${token}`, { password })).status).toBe(204)
    expectProblem(await client.request('PATCH', '/api/v1/me', { json: { bio: 'too late' } }), 401, 'NOT_SIGNED_IN')
    const old = await visitor.post('/api/v1/sessions', { login: client.user.handle, password: PASSWORD })
    expectProblem(old, 401, 'WRONG_CREDENTIALS')
    await logIn(client.user.handle, password)
    expectProblem(await visitor.post(`/api/v1/password-resets/${token}`, { password }), 404, 'NOT_FOUND')
  })

  test('an expired token sets no password, and neither does a confirmation’s', async () => {
    const client = await signUp()
    const body = { password: 'eight louder herons' }
    const verification = await stack.mailedToken('verify-email', client.user.id)
    expectProblem(await client.post(`/api/v1/password-resets/${verification}`, body), 404, 'NOT_FOUND')
    await client.post('/api/v1/password-resets', { email: client.user.email })
    const token = await stack.mailedToken('reset-password', client.user.id)
    await expire(client.user.id)
    expectProblem(await client.post(`/api/v1/password-resets/${token}`, body), 404, 'NOT_FOUND')
    await logIn(client.user.handle)
  })
})

describe('the own account', () => {
  test('a change of the profile is visible to the user and to others', async () => {
    const client = await signUp()
    const bio = 'Lines,\n  kept — «as» they’re 打つ 👩‍🚀 typed'
    const answer = await client.request('PATCH', '/api/v1/me', { json: { displayName: '  Åsa  ', bio } })
    expect(answer.json()).toMatchObject({ user: { displayName: 'Åsa', bio } })
    expect(answer.headers.get('x-causal-token')).not.toBeNull()
    const onlyBio = await client.request('PATCH', '/api/v1/me', { json: { bio: '' } })
    expect(onlyBio.json()).toMatchObject({ user: { displayName: 'Åsa', bio: '' } })
    expect((await client.request('PATCH', '/api/v1/me', { json: {} })).json()).toEqual(onlyBio.json())
    const seenByOthers = await held(stack.bearer()).get(`/api/v1/users/${client.user.handle.toUpperCase()}`)
    expect(seenByOthers.json()).toMatchObject({ user: { displayName: 'Åsa', bio: '' } })
    expect(seenByOthers.headers.get('x-causal-token')).toBeNull()
  })

  test('a changed password ends the other sessions and keeps this one', async () => {
    const client = await signUp()
    const other = await logIn(client.user.handle)
    const next = 'nine silent herons'
    const wrong = await client.request('PUT', '/api/v1/me/password', { json: { current: 'not this one', next } })
    expectProblem(wrong, 401, 'WRONG_CREDENTIALS')
    expect((await other.get('/api/v1/me')).status).toBe(200)
    const answer = await client.request('PUT', '/api/v1/me/password', { json: { current: PASSWORD, next } })
    expect(answer.status).toBe(204)
    expectProblem(await other.get('/api/v1/me'), 401, 'NOT_SIGNED_IN')
    expect((await client.get('/api/v1/me')).status).toBe(200)
    await logIn(client.user.handle, next)
  })
})

const nounTests = import.meta.glob<{ apiTests: (given: ApiGiven) => void }>('./*/api.ts', { eager: true })
const given: ApiGiven = { stack: () => stack, held, signUp, expectProblem }
for (const { apiTests } of Object.values(nounTests)) apiTests(given)

describe('a noun’s route', () => {
  test.each(nounRoutes.filter(({ isApi, isMissing }) => isApi && !isMissing))(
    'answers as the document says: $route',
    async (row) => {
      const client = await signUp()
      const ask = askAs(client)
      const owner = await ownerOf({ handle: client.user.handle, ask })
      const answer = await ask(row.method, pathOf(row, owner), row.file?.() ?? row.body?.(0))
      expect(answer.status, answer.text).toBeLessThan(300)
    },
  )
})

describe('pages of visitors, through PublicPages', () => {
  const direct = { headers: { 'x-causal-token': 'read directly' } }
  /** Headers of one request, and those of the way that the page took. */
  const ofOneWay = ['x-request-id', 'server-timing', 'date', 'cache-status', 'cache-control', 'vary']
  const comparable = ({ status, headers, text }: Answer) => ({
    status,
    headers: [...headers].filter(([name]) => !ofOneWay.includes(name)),
    text: text.replaceAll(headers.get('x-request-id')!, 'ID'),
  })

  test.each(['GET', 'HEAD'])('%s: a page is complete, and equals the page that is read directly', async (method) => {
    const { user } = await signUp()
    const visitor = stack.browser()
    for (const path of ['/', '/login?next=/settings', '/forgot-password', `/@${user.handle}`]) {
      const page = await visitor.request(method, path)
      expect(page.headers.get('cache-status'), path).toBe('PublicPages; fwd=bypass')
      expect(page.headers.get('cache-control')).toBe('public, max-age=60')
      expect(page.headers.get('cache-tag')).toBeNull()
      const expected = await visitor.request(method, path, direct)
      expect(expected.headers.get('cache-status') ?? '').not.toContain('PublicPages')
      expect(expected.headers.get('cache-control')).toBe('private, no-store')
      expect(comparable(page)).toEqual(comparable(expected))
      expect(page.text.endsWith('</html>'), path).toBe(method === 'GET')
    }
  })

  test('a page that does not exist is the same error page, and its id and timing are those of its request', async () => {
    const visitor = stack.browser()
    const [page, again] = [await visitor.get('/@nobody_here'), await visitor.get('/@nobody_here')]
    const expected = await visitor.get('/@nobody_here', direct)
    expect(page.status).toBe(404)
    expect(comparable(page)).toEqual(comparable(expected))
    for (const { headers, text } of [page, again]) {
      expect(text).toContain(headers.get('x-request-id')!)
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('server-timing')).toMatch(/^total;dur=\d+, d1;desc="0", kv;desc="0", directory;desc="0"$/)
    }
    expect(page.headers.get('x-request-id')).not.toBe(again.headers.get('x-request-id'))
  })
})

describe('monitoring and operations', () => {
  test('/healthz answers while the isolate lives, and /readyz has a line for each dependency', async () => {
    const client = stack.bearer()
    const alive = await client.get('/healthz')
    expect([alive.status, alive.text]).toEqual([200, 'ok\n'])
    const ready = await client.get('/readyz')
    expect(ready.status).toBe(200)
    expect(ready.text.trim().split('\n')).toEqual(
      ['directory', 'kv', 'r2', 'shard-000', 'shard-001'].map((name) => `ok   ${name}`),
    )
    for (const { headers } of [alive, ready])
      for (const name of ['x-request-id', 'server-timing']) expect(headers.get(name)).not.toBeNull()
  })

  test('operators list the shards', async () => {
    const visitor = held(stack.bearer())
    const answer = await visitor.get('/operator/v1/shards', { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } })
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({
      epoch: 1,
      items: [
        { id: 'shard-000', binding: 'SHARD_000', state: 'serving', slots: 32_768 },
        { id: 'shard-001', binding: 'SHARD_001', state: 'serving', slots: 32_768 },
      ],
    })
  })

  test('operators probe the databases, which refuse as this version expects', async () => {
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    const answer = await operator.post('/operator/v1/probe', {})
    expect(answer.status).toBe(200)
    const { items } = answer.json<{ items: { binding: string; ok: boolean }[] }>()
    expect([...new Set(items.map(({ binding }) => binding))]).toEqual(['SHARD_000', 'SHARD_001'])
    expect(items.filter(({ ok }) => !ok)).toEqual([])
  })

  test('operators see who answers the reads of each database: locally its primary', async () => {
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    const answer = await operator.get('/operator/v1/replicas?after=SHARD_000')
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({
      replicas: 'off',
      items: [{ binding: 'SHARD_001', members: [{ isPrimary: true, reads: 4 }], error: null }],
      next: null,
    })
  })

  test('operators list the users of all shards, the newest first', async () => {
    const [older, newer] = [await signUp(), await signUp()]
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    const answer = await operator.get('/operator/v1/users?order=recent&limit=2')
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({
      items: [{ handle: newer.user.handle }, { handle: older.user.handle }],
      failed: [],
      missing: null,
    })
  })

  test('operators import users, who exist at once, and verify them', async () => {
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    const user = {
      externalId: '7',
      email: 'Old.Friend@example.com',
      handle: 'old_friend',
      createdAt: '2019-05-06T07:08:09Z',
    }
    const request = { source: 'old', users: [user, { ...user, externalId: '8', handle: '8' }] }
    const imported = (await operator.post('/operator/v1/imports', request)).json<{ items: { id: string }[] }>()
    expect(imported.items).toMatchObject([
      { externalId: '7', outcome: 'imported', hasPassword: false },
      { externalId: '8', outcome: 'refused', id: null, code: 'HANDLE_INVALID' },
    ])
    const listed = await operator.get('/operator/v1/users?order=recent&limit=1')
    expect(listed.json()).toMatchObject({ items: [{ id: expect.any(String) }], failed: [], missing: null })
    const verified = await operator.post('/operator/v1/imports/verifications', request)
    expect(verified.json()).toEqual({
      items: [
        { externalId: '7', id: imported.items[0]!.id, isHere: true, differences: [] },
        { externalId: '8', id: null, isHere: false, differences: [] },
      ],
    })
    const answer = await held(stack.bearer()).get('/api/v1/users/old_friend')
    expect(answer.json()).toMatchObject({ user: { id: imported.items[0]!.id, createdAt: '2019-05-06T07:08:09.000Z' } })
  })

  test('operators move slots, reverse a move, complete it and abort one', async () => {
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    interface Move {
      id: string
      state: string
    }
    const moveOf = (answer: Answer) => answer.json<{ move: Move }>().move
    const reaches = async (id: string, state: string) => {
      while (moveOf(await operator.get(`/operator/v1/moves/${id}`)).state !== state)
        await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const plan = async () => {
      const answer = await operator.post('/operator/v1/moves', { slots: '00fe-00ff', target: 'shard-001' })
      expect(answer.status, answer.text).toBe(202)
      return answer.json<{ moves: [Move] }>().moves[0]
    }
    const aborted = await plan()
    expect((await operator.post(`/operator/v1/moves/${aborted.id}/abort`)).status).toBe(202)
    await reaches(aborted.id, 'aborted')
    const undone = await plan()
    const resolved = await operator.post(`/operator/v1/moves/${undone.id}/resolve`, { choice: 'undo' })
    expect(resolved.status, resolved.text).toBe(200)
    await reaches(undone.id, 'aborted')
    const { sides, choices } = (await operator.get(`/operator/v1/moves/${undone.id}/sides`)).json<{
      sides: { shard: string }[]
      choices: string[]
    }>()
    expect([sides.map(({ shard }) => shard), choices]).toEqual([['shard-000', 'shard-001'], []])

    const { id } = await plan()
    await reaches(id, 'settling')
    expect(moveOf(await operator.post(`/operator/v1/moves/${id}/reverse`))).toMatchObject({
      source: 'shard-001',
      target: 'shard-000',
      reversed: true,
    })
    await reaches(id, 'settling')
    expect((await operator.post(`/operator/v1/moves/${id}/complete`)).status).toBe(202)
    await reaches(id, 'done')
    const list = await operator.get('/operator/v1/moves?limit=1')
    expect(list.json()).toMatchObject({ items: [{ id, state: 'done', progress: 1 }], next: expect.any(String) })
    expect((await operator.post(`/operator/v1/moves/${id}/abort`)).status).toBe(409)
  })

  test('operators drain a shard, remove it, add it again, and rebalance the shards', async () => {
    const operator = Object.assign(held(stack.bearer()), { token: OPERATOR_TOKEN })
    const shards = async () =>
      (await operator.get('/operator/v1/shards')).json<{ items: { id: string; slots: number; state: string }[] }>()
        .items
    const ended = async ({ moves }: { moves: { id: string }[] }) => {
      for (const { id } of moves)
        while (
          (await operator.get(`/operator/v1/moves/${id}`)).json<{ move: { state: string } }>().move.state !== 'done'
        )
          await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const migrations = await operator.get('/operator/v1/migrations')
    expect(migrations.json()).toMatchObject({ items: [{ pending: [] }, { pending: [] }] })
    const change = await operator.request('PATCH', '/operator/v1/shards/shard-001', { json: { state: 'read-only' } })
    expect(change.json()).toMatchObject({ shard: { id: 'shard-001', state: 'read-only' } })
    await operator.request('PATCH', '/operator/v1/shards/shard-001', { json: { state: 'serving' } })

    const drained = await operator.post('/operator/v1/shards/shard-001/drain')
    expect(drained.status, drained.text).toBe(202)
    await ended(drained.json())
    expect((await shards()).map(({ slots, state }) => [slots, state])).toEqual([
      [65_536, 'serving'],
      [0, 'draining'],
    ])
    expect((await operator.request('DELETE', '/operator/v1/shards/shard-001')).status).toBe(204)
    expect(await shards()).toHaveLength(1)
    const joined = await operator.post('/operator/v1/shards', { binding: 'SHARD_001' })
    expect([joined.status, joined.json()]).toMatchObject([201, { shard: { id: 'shard-001', slots: 0 } }])

    const plan = await operator.post('/operator/v1/rebalance', { dryRun: true })
    expect(plan.json()).toEqual({
      moves: keyspaces.map((keyspace) => ({
        keyspace,
        source: 'shard-000',
        target: 'shard-001',
        slots: '8000-ffff',
      })),
      held: 0,
    })
    const started = await operator.post('/operator/v1/rebalance', {})
    expect(started.status, started.text).toBe(202)
    await ended(started.json())
    expect((await shards()).map(({ slots }) => slots)).toEqual([32_768, 32_768])

    const place = () => operator.post('/operator/v1/keyspaces/claims/place', { target: 'shard-001' })
    const placed = await place()
    expect([placed.status, placed.json()]).toMatchObject([
      202,
      { moves: [{ keyspace: 'claims', source: 'shard-000' }] },
    ])
    await ended(placed.json())
    expect((await place()).json()).toEqual({ moves: [], held: 0 })
    const list = await operator.get('/operator/v1/keyspaces')
    expect(list.json<{ items: unknown[] }>().items).toContainEqual({
      name: 'claims',
      tables: ['claim_inbox', 'claims'],
      shards: [{ id: 'shard-001', slots: 65_536 }],
      placement: 'shard-001',
    })
    const rest = await operator.post('/operator/v1/rebalance', { dryRun: true })
    expect(rest.json()).toEqual({ moves: [], held: 0 })
    const spread = await operator.post('/operator/v1/rebalance', { keyspace: 'claims' })
    expect(spread.json()).toMatchObject({ moves: [{ keyspace: 'claims', source: 'shard-001', target: 'shard-000' }] })
    await ended(spread.json())
  })

  test('the document is OpenAPI 3.1, and the tests have seen every success that it names', () => {
    expect(document.openapi).toBe('3.1.0')
    const named = documentedRoutes(document).flatMap(({ name, successes }) =>
      successes.map((status) => `${name} ${status}`),
    )
    // The sample registers no backfill.
    const unseen = ['POST /operator/v1/backfills/{name} 202', 'PATCH /operator/v1/backfills/{name} 200']
    expect(named.filter((success) => !seen.has(success))).toEqual(unseen)
  })
})
