import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { limits } from '../../../src/core/limits.ts'
import { readCausalToken } from '../../../src/web/causal-token.ts'
import type { Env } from '../../../workers/env.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

// REPLICAS=on over HTTP. The runtime's databases have no replicas, so what counts here is how sessions are opened.

const bindings = env as unknown as Env

afterEach(() => {
  vi.restoreAllMocks()
})

/** An isolate that notes how it opens each session, and each call without a session. */
function isolate(settings: Partial<Env> = {}) {
  const opened: string[] = []
  const noting = (database: D1Database): D1Database =>
    new Proxy(database, {
      get(target, name) {
        if (name === 'withSession')
          return (start: string) => {
            opened.push(start)
            return target.withSession(start)
          }
        const value = Reflect.get(target, name) as unknown
        if (typeof value !== 'function') return value
        return (...parameters: unknown[]) => {
          opened.push('no session')
          return Reflect.apply(value, target, parameters) as unknown
        }
      },
    })
  const shards = Object.fromEntries(
    Object.entries(bindings)
      .filter(([name]) => /^SHARD_\d{3}$/.test(name))
      .map(([name, database]) => [name, noting(database as unknown as D1Database)]),
  )
  const { request } = workerIsolate({ ...shards, REPLICAS: 'on', JOBS: 'queue', ...settings } as Partial<Env>)
  return {
    request,
    /** The starts of the sessions opened since the last call. */
    opened: () => opened.splice(0),
  }
}

const tokenOf = ({ headers }: WorkerAnswer): string => headers.get('x-causal-token') ?? ''

const parsed = (text: string) =>
  readCausalToken(
    new Request('http://localhost/', { headers: { 'x-causal-token': text } }),
    bindings.SIGNING_KEY!,
    Date.now(),
  )

async function newMember({ request }: ReturnType<typeof isolate>) {
  const answer = await request('POST', '/api/v1/accounts', { json: somebody() })
  expect(answer.status, answer.text).toBe(201)
  const { token, user } = answer.json<{ token: string; user: { id: string; handle: string } }>()
  return { token, user, causal: tokenOf(answer) }
}

const isBookmark = (start: string) => !start.startsWith('first-') && start !== 'no session'

describe('a client who has written', () => {
  test('gets a bookmark of the shard, where its reads start on every isolate', async () => {
    const { token, causal } = await newMember(isolate())
    const { bookmarks } = parsed(causal)
    expect(bookmarks.size).toBeGreaterThan(0)

    const other = isolate()
    const headers = { 'x-causal-token': causal }
    expect((await other.request('GET', '/api/v1/me', { token, headers })).status).toBe(200)
    const starts = other.opened().filter(isBookmark)
    expect(starts.length).toBeGreaterThan(0)
    for (const start of starts) expect([...bookmarks.values()]).toContain(start)
  })

  test('and sends no token reads from any replica', async () => {
    const { user } = await newMember(isolate())
    const other = isolate()
    expect((await other.request('GET', `/api/v1/users/${user.handle}`)).status).toBe(200)
    expect(new Set(other.opened())).toEqual(new Set(['first-unconstrained']))
  })

  test('and repeats the request gets a bookmark with the stored answer, too', async () => {
    const one = isolate()
    const { token } = await newMember(one)
    const first = await one.request('POST', '/api/v1/email-verifications', { token, key: 'twice' })
    expect(first.status, first.text).toBe(202)
    const { bookmarks } = parsed(tokenOf(first))
    const again = await isolate().request('POST', '/api/v1/email-verifications', { token, key: 'twice' })
    expect(again.status, again.text).toBe(202)
    for (const [shard, bookmark] of bookmarks)
      expect((parsed(tokenOf(again)).bookmarks.get(shard) ?? '') >= bookmark).toBe(true)
  })
})

test('a change that an earlier request has made is acknowledged with the bookmarks of its shards', async () => {
  const { token, user } = await newMember(isolate())
  const { request, opened } = isolate()
  const answer = await request('PUT', '/api/v1/me/handle', { token, json: { handle: user.handle } })
  expect(answer.status, answer.text).toBe(200)
  expect(new Set(opened())).toEqual(new Set(['first-primary']))
  const { bookmarks } = parsed(tokenOf(answer))
  const later = isolate()
  const headers = { 'x-causal-token': tokenOf(answer) }
  expect((await later.request('GET', `/api/v1/users/${user.handle}`, { headers })).status).toBe(200)
  for (const start of later.opened()) expect([...bookmarks.values()]).toContain(start)
})

test('a GET that writes works', async () => {
  const { token } = await newMember(isolate())
  const { now } = Date
  const lastSeen = async () => {
    const answer = await isolate().request('GET', '/api/v1/sessions', { token })
    return Date.parse(answer.json<{ items: { lastSeenAt: string }[] }>().items[0]!.lastSeenAt)
  }
  const before = await lastSeen()
  vi.spyOn(Date, 'now').mockImplementation(() => now() + limits.sessionLastSeenMs + 1_000)
  await isolate().request('GET', '/api/v1/me', { token })
  expect((await lastSeen()) - before).toBeGreaterThan(limits.sessionLastSeenMs)
})

test('jobs read the primary, because a replica may not have the row that created them', async () => {
  const { request, opened } = isolate({ JOBS: 'inline' })
  const answer = await request('POST', '/api/v1/accounts', { json: somebody() })
  expect(answer.status).toBe(201)
  // The batches of the sign-up itself open sessions. Its jobs run after the response, without one.
  expect(opened()).toContain('no session')
})

test('without the setting, there are neither sessions nor bookmarks', async () => {
  const plain = isolate({ REPLICAS: 'off' })
  const { causal } = await newMember(plain)
  expect(parsed(causal).bookmarks.size).toBe(0)
  expect(new Set(plain.opened())).toEqual(new Set(['no session']))
})

test('a wrong setting is named', async () => {
  const answer = await isolate({ REPLICAS: 'yes' }).request('GET', '/api/v1/me')
  expect(answer.status).toBe(503)
  expect(answer.text).toContain('REPLICAS is \\"yes\\"; it must be off or on.')
})
