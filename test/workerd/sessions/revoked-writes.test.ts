import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import { documentedPath, nounRoutes, ownerOf, pathOf } from '../../support/noun-routes.ts'
import type { Owner } from '../../support/nouns.ts'
import { emptyShards, everything, rows } from '../../support/shard-rows.ts'
import { somebody, type WorkerAnswer, type WorkerRequest, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env

/** KV that loses deletions, so the copies of revoked sessions stay. */
const keepingKv = new Proxy(bindings.KV, {
  get(kv, name) {
    if (name === 'delete') return async () => undefined
    const value: unknown = Reflect.get(kv, name)
    return typeof value === 'function' ? value.bind(kv) : value
  },
})

/** A session without a row, the nouns' items, and an isolate that does not know: it has a copy and a fresh stamp. */
interface Revoked {
  isolate: ReturnType<typeof workerIsolate>
  token: string
  stamp: string
  owner: Owner
  otherId: string
}

let revoked: Revoked

const ask = (path: string, method = 'GET', options: WorkerRequest = {}) =>
  revoked.isolate.request(method, path, { token: revoked.token, ...options })

const submit = (path: string, fields: Record<string, string> = {}): Promise<WorkerAnswer> =>
  revoked.isolate.request('POST', path, {
    headers: {
      accept: 'text/html',
      origin: 'http://localhost',
      'content-type': 'application/x-www-form-urlencoded',
      cookie: `__Host-session=${revoked.token}; __Host-stamp=${revoked.stamp}`,
    },
    body: new URLSearchParams(fields).toString(),
  })

beforeAll(async () => {
  await emptyShards()
  const input = somebody()
  const KV = keepingKv
  const [isolate, elsewhere] = [workerIsolate({ KV }), workerIsolate({ KV })]
  const first = await elsewhere.request('POST', '/api/v1/accounts', { json: input })
  const other = first.json<{ token: string }>().token
  const logIn = { json: { login: input.email, password: input.password } }
  const began = await isolate.request('POST', '/api/v1/sessions', logIn)
  const { token } = began.json<{ token: string }>()
  const stamp = /__Host-stamp=([^;]+)/.exec(began.headers.get('set-cookie') ?? '')![1]!
  const owner = await ownerOf({
    handle: input.handle,
    ask: (method, path, json) => isolate.request(method, path, { token, ...(json === undefined ? {} : { json }) }),
  })
  const [, sessionId] = token.split('.')
  const ended = await elsewhere.request('DELETE', `/api/v1/sessions/${sessionId}`, { token: other })
  expect(ended.status).toBe(204)
  revoked = { isolate, token, stamp, owner, otherId: other.split('.')[1]! }
})

const bodies = {
  displayName: 'After',
  current: 'a pass phrase of mine',
  next: 'another pass phrase',
  handle: 'after_the_end',
  email: 'after.the.end@example.com',
}
const { displayName, current, next, handle, email } = bodies

interface Write {
  method: string
  pattern: string
  /** JSON, or a form's fields. */
  body?: Record<string, unknown>
  file?: () => Uint8Array<ArrayBuffer>
  path: () => string
}

const write = (method: string, pattern: string, body?: Record<string, unknown>): Write => ({
  method,
  pattern,
  ...(body && { body }),
  path: () => pattern.replace('{id}', revoked.otherId),
})

const nounWrites = (isApi: boolean): Write[] =>
  nounRoutes
    .filter((route) => route.isApi === isApi && route.isSignedIn && route.method !== 'GET')
    .map((route) => ({
      method: route.method,
      pattern: documentedPath(route.pattern),
      ...(route.body && { body: route.body(0) }),
      ...(route.file && { file: route.file }),
      path: () => pathOf(route, revoked.owner),
    }))

/** Every operation of the API that needs a session and is not a read. */
const writes: Write[] = [
  ...nounWrites(true),
  write('PATCH', '/api/v1/me', { displayName }),
  write('PUT', '/api/v1/me/password', { current, next }),
  write('PUT', '/api/v1/me/handle', { handle }),
  write('PUT', '/api/v1/me/email', { email, password: current }),
  write('POST', '/api/v1/email-verifications'),
  write('DELETE', '/api/v1/sessions'),
  write('DELETE', '/api/v1/sessions/{id}'),
]

/** The addresses of the browser's forms. */
const forms: Write[] = [
  ...nounWrites(false),
  write('POST', '/settings/profile', { displayName, bio: '' }),
  write('POST', '/settings/avatar', { remove: 'yes' }),
  write('POST', '/settings/password', { current, next }),
  write('POST', '/settings/handle', { handle }),
  write('POST', '/settings/email', { email, password: current }),
  write('POST', '/settings/notices', {}),
  write('POST', '/settings/email-verification'),
  write('POST', '/settings/sessions/end-others'),
  write('POST', '/settings/sessions/{id}/end'),
]

const jsonOf = ({ body, file }: Write): WorkerRequest => (file ? { body: file() } : body ? { json: body } : {})

describe('a session revoked elsewhere, in an isolate with a fresh stamp and a copy in KV', () => {
  test('may read, by Bearer token and by cookies, without a read of its row', async () => {
    const answer = await ask('/api/v1/sessions')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('server-timing')).toMatch(/d1;desc="1", kv;desc="1"/)
  })

  test('the table has every write of the API', async () => {
    const document = (await ask('/api/openapi.json')).json<{
      paths: Record<string, Record<string, { security?: unknown[] }>>
    }>()
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method, { security }]) => method !== 'get' && security && !path.startsWith('/operator/'))
        .map(([method]) => `${method.toUpperCase()} ${path}`),
    )
    expect(writes.map(({ method, pattern }) => `${method} ${pattern}`).sort()).toEqual(operations.sort())
  })

  test.each([...writes, write('DELETE', '/api/v1/sessions/current')])(
    '$method $pattern is refused, and nothing is written',
    async (sent) => {
      const before = await everything()
      const answer = await ask(sent.path(), sent.method, jsonOf(sent))
      expect([answer.status, answer.json().code]).toEqual([401, 'SESSION_ENDED'])
      expect(await everything()).toEqual(before)
    },
  )

  test.each(writes.filter(({ method }) => method === 'POST'))(
    '$method $pattern with an Idempotency-Key is refused, and keeps no answer',
    async (sent) => {
      const answer = await ask(sent.path(), sent.method, { key: 'a key', ...jsonOf(sent) })
      expect([answer.status, answer.json().code]).toEqual([401, 'SESSION_ENDED'])
      expect(await rows('idempotency_keys')).toEqual([])
    },
  )

  test.each(forms)('the form $pattern is refused, and nothing is written', async ({ path, body = {} }) => {
    const before = await everything()
    const answer = await submit(path(), body as Record<string, string>)
    expect(answer.status).toBe(401)
    expect(await everything()).toEqual(before)
  })

  test('logging out still redirects home and clears the cookies, and nothing is written', async () => {
    const before = await everything()
    const answer = await submit('/logout', undefined)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect(answer.headers.get('set-cookie')).toMatch(/__Host-session=;.*Max-Age=0/)
    expect(await everything()).toEqual(before)
  })
})

describe('signing out', () => {
  test('ends the current session at once in its isolate, and clears both cookies', async () => {
    const isolate = workerIsolate()
    const made = await isolate.request('POST', '/api/v1/accounts', { json: somebody() })
    const { token } = made.json<{ token: string }>()
    const cookies = made.headers.get('set-cookie')!
    const stamp = /__Host-stamp=([^;]+)/.exec(cookies)![1]!
    const headers = { origin: 'http://localhost', cookie: `__Host-session=${token}; __Host-stamp=${stamp}` }
    const ended = await isolate.request('DELETE', '/api/v1/sessions/current', { headers })
    expect(ended.status).toBe(204)
    expect(ended.headers.get('set-cookie')).toMatch(/__Host-session=;.*Max-Age=0.*__Host-stamp=;.*Max-Age=0/i)
    for (const where of [isolate, workerIsolate()]) {
      const read = await where.request('GET', '/api/v1/me', { token })
      expect([read.status, read.json().code]).toEqual([401, 'NOT_SIGNED_IN'])
    }
  })
})
