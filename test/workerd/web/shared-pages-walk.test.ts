import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Env } from '../../../workers/env.ts'
import { cachedWorker } from '../../support/cached-worker.ts'
import { getPatterns, pathsOf } from '../../support/get-routes.ts'
import '../../support/light-passwords.ts'
import { ownerOf } from '../../support/noun-routes.ts'
import type { Owner } from '../../support/nouns.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

/** How often Hono's getCookie has read a request that has a cookie of ours. It is the only reader of `Cookie` by this name. */
let cookiesRead = 0
const getHeader = Headers.prototype.get
vi.spyOn(Headers.prototype, 'get').mockImplementation(function get(this: Headers, name: string) {
  const value = getHeader.call(this, name)
  if (name === 'Cookie' && value?.includes('__Host-')) cookiesRead++
  return value
})

interface Person extends Owner {
  email: string
  /** Of the session alone, and of all cookies of a browser that has just written. */
  sessionCookie: string
  cookies: string
  token: string
}

type Reader = { name: string; headers: Record<string, string>; person?: Person }

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g

/** Headers of one request. */
const ofOneRequest = ['x-request-id', 'server-timing', 'cache-status', 'age', 'date', 'set-cookie', 'x-causal-token']

const cache = new WorkersCache({ now: () => Date.now() })
const cached = cachedWorker(cache)
const direct = workerIsolate({ CACHE: 'off' })
const requestIds = new Map<string, string>()
let readers: Reader[]
let ada: Person
let bob: Person

async function signUp(): Promise<Person> {
  const { email, handle, password } = somebody()
  const answer = await direct.request('POST', '/api/v1/accounts', { json: { email, handle, password } })
  const cookies = answer.headers.getSetCookie().map((line) => line.split(';')[0]!)
  const { token } = answer.json<{ token: string }>()
  const owner = await ownerOf({ handle, ask: (method, path, json) => direct.request(method, path, { json, token }) })
  const sessionCookie = cookies.find((cookie) => cookie.startsWith('__Host-session'))!
  return { ...owner, email, token, cookies: cookies.join('; '), sessionCookie }
}

beforeAll(async () => {
  ada = await signUp()
  bob = await signUp()
  const operator = (env as unknown as Env).OPERATOR_TOKEN
  const visitor = { name: 'a visitor', headers: {} }
  readers = [
    { name: 'Ada', headers: { cookie: ada.cookies }, person: ada },
    visitor,
    { name: 'Bob, with the session’s cookie alone', headers: { cookie: bob.sessionCookie }, person: bob },
    { name: 'a visitor with a cookie of another application', headers: { cookie: `theme=dark; x=${ada.handle}` } },
    { name: 'Ada, with a token', headers: { authorization: `Bearer ${ada.token}` }, person: ada },
    { name: 'a session that never was', headers: { cookie: '__Host-session=a.b.c' } },
    { name: 'a causal token', headers: { cookie: '__Host-causal=x' } },
    { name: 'an operator', headers: { authorization: `Bearer ${operator}` } },
    { ...visitor, name: 'a visitor again' },
  ]
})

/** The answer without what belongs to one request. */
function comparable({ status, headers, text }: WorkerAnswer, isCounted: boolean) {
  const kept = [...headers].filter(([name]) => !ofOneRequest.includes(name))
  return { status, headers: kept, text: isCounted ? '' : text.replaceAll(UUID, 'UUID') }
}

async function visit(reader: Reader, method: string, path: string, accept: string): Promise<void> {
  const title = `${method} ${path} for ${reader.name}, ${accept}`
  const options = { headers: { accept, ...reader.headers } }
  const readBefore = cookiesRead
  const answer = await cached.request(method, path, options)
  const hasRead = cookiesRead > readBefore
  const { status, headers, text } = answer
  const cacheControl = headers.get('cache-control')
  expect(cacheControl, `${title}: an explicit Cache-Control`).not.toBeNull()
  if (hasRead || headers.has('set-cookie')) expect(cacheControl, `${title}: it read a cookie`).toBe('private, no-store')
  if (status >= 300 && status !== 304) expect(cacheControl, title).toMatch(/^(?:private, )?no-store$/)

  const id = headers.get('x-request-id')!
  expect(requestIds.get(id), `${title}: the id of another request`).toBeUndefined()
  requestIds.set(id, title)
  const named = [...text.matchAll(UUID)].map(([uuid]) => uuid)
  expect(named.map((uuid) => requestIds.get(uuid)).filter((of) => of !== undefined && of !== title)).toEqual([])
  if (status >= 400 && text !== '' && !path.startsWith('/assets/')) expect(named, title).toContain(id)
  if (cacheControl?.startsWith('public'))
    expect(named, `${title}: a shared page with a value of one request`).toEqual([])

  for (const other of [ada, bob])
    if (other !== reader.person) {
      expect(text, title).not.toContain(other.email)
      expect(text, `${title}: the header of another’s page`).not.toMatch(
        new RegExp(`nav-link[^>]*href="/@${other.handle}"`),
      )
    }

  // Numbers of operators and of /readyz change by themselves.
  const isCounted = path.startsWith('/operator/') || path === '/readyz'
  const expected = await direct.request(method, path, options)
  expect(comparable(answer, isCounted), title).toEqual(comparable(expected, isCounted))
}

describe('through Workers Cache, each answer is the one that this reader would get without it', () => {
  test('there are routes to walk', () => {
    expect(getPatterns.length).toBeGreaterThan(15)
  })

  test.each([...getPatterns, '/nothing/here'])('GET %s', async (pattern) => {
    const [path, none] = pathsOf(pattern, ada)
    for (const reader of readers) await visit(reader, 'GET', path, 'text/html')
    for (const reader of readers.slice(0, 4)) await visit(reader, 'GET', path, 'application/json')
    for (const reader of readers.slice(0, 2)) {
      await visit(reader, 'HEAD', path, 'text/html')
      if (!none) continue
      await visit(reader, 'HEAD', none, 'text/html')
      await visit(reader, 'GET', none, 'text/html')
      await visit(reader, 'GET', none, 'application/json')
    }
  })

  afterAll(() => {
    vi.restoreAllMocks()
    expect(cookiesRead).toBeGreaterThan(50)
    expect(cached.handedOver.length).toBeGreaterThan(20)
    expect(cached.rendered.length).toBeLessThan(cached.handedOver.length)
    expect(new Set(cached.handedOver.flatMap(({ headers }) => [...headers.keys()]))).toEqual(new Set())
  })
})
