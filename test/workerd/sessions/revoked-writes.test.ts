import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
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

/** A session without a row, its post, and an isolate that does not know: it has a copy and a fresh stamp. */
interface Revoked {
  isolate: ReturnType<typeof workerIsolate>
  token: string
  stamp: string
  postId: string
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
  const post = await isolate.request('POST', '/api/v1/posts', { token, json: { text: 'before' } })
  const postId = post.json<{ post: { id: string } }>().post.id
  const [, sessionId] = token.split('.')
  const ended = await elsewhere.request('DELETE', `/api/v1/sessions/${sessionId}`, { token: other })
  expect(ended.status).toBe(204)
  revoked = { isolate, token, stamp, postId, otherId: other.split('.')[1]! }
})

const bodies = { text: 'after', displayName: 'After', current: 'a pass phrase of mine', next: 'another pass phrase' }
const { text, displayName, current, next } = bodies

/** Every operation of the API that needs a session and is not a read. */
const writes: [string, string, unknown?][] = [
  ['POST', '/api/v1/posts', { text }],
  ['PATCH', '/api/v1/posts/{id}', { text }],
  ['DELETE', '/api/v1/posts/{id}'],
  ['PATCH', '/api/v1/me', { displayName }],
  ['PUT', '/api/v1/me/password', { current, next }],
  ['POST', '/api/v1/email-verifications'],
  ['DELETE', '/api/v1/sessions'],
  ['DELETE', '/api/v1/sessions/{id}'],
]

const pathOf = (path: string) => path.replace('{id}', path.includes('/posts/') ? revoked.postId : revoked.otherId)

/** The addresses of the browser's forms. */
const forms: [string, Record<string, string>?][] = [
  ['/posts', { text, key: 'one' }],
  ['/posts/{id}/edit', { text }],
  ['/posts/{id}/delete'],
  ['/settings/profile', { displayName, bio: '' }],
  ['/settings/password', { current, next }],
  ['/settings/email-verification'],
  ['/settings/sessions/end-others'],
  ['/settings/sessions/{id}/end'],
]

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
    expect(writes.map(([method, path]) => `${method} ${path}`).sort()).toEqual(operations.sort())
  })

  test.each([...writes, ['DELETE', '/api/v1/sessions/current'] as [string, string, unknown?]])(
    '%s %s is refused, and nothing is written',
    async (method, path, json) => {
      const before = await everything()
      const answer = await ask(pathOf(path), method, json === undefined ? {} : { json })
      expect([answer.status, answer.json().code]).toEqual([401, 'SESSION_ENDED'])
      expect(await everything()).toEqual(before)
    },
  )

  test.each(writes.filter(([method]) => method === 'POST'))(
    '%s %s with an Idempotency-Key is refused, and keeps no answer',
    async (method, path, json) => {
      const answer = await ask(pathOf(path), method, { key: 'a key', ...(json === undefined ? {} : { json }) })
      expect([answer.status, answer.json().code]).toEqual([401, 'SESSION_ENDED'])
      expect(await rows('idempotency_keys')).toEqual([])
    },
  )

  test.each(forms)('the form %s is refused, and nothing is written', async (path, fields) => {
    const before = await everything()
    const answer = await submit(pathOf(path), fields)
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
