import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BanyanError } from '../../../src/core/errors.ts'
import { limits } from '../../../src/core/limits.ts'
import { sendError } from '../../../src/web/public-pages.ts'
import { type CachedWorkerOptions, cachedWorker } from '../../support/cached-worker.ts'
import '../../support/light-passwords.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

const direct = workerIsolate({ CACHE: 'off' })
/** A profile page. */
let page: string
let token: string
let cookie: string

beforeAll(async () => {
  const account = somebody()
  const answer = await direct.request('POST', '/api/v1/accounts', { json: account })
  page = `/@${account.handle}`
  token = answer.json<{ token: string }>().token
  cookie = answer.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')
  await setBio('For everybody.')
})

const setBio = (bio: string) => direct.request('PATCH', '/api/v1/me', { json: { bio }, token })

/** A Worker with an empty cache, and a clock in seconds. */
function setUp(options?: CachedWorkerOptions) {
  const clock = { seconds: 0, now: () => clock.seconds * 1_000 }
  const cache = new WorkersCache(clock)
  return { ...cachedWorker(cache, options), cache, clock }
}

/** The status, and what the shared cache did. A page that was not handed over reads rows through the other cache. */
const outcome = ({ status, headers }: WorkerAnswer) => {
  const cacheStatus = headers.get('cache-status')
  return [status, cacheStatus?.startsWith('PublicPages') ? cacheStatus : null]
}
const hit = [200, 'PublicPages; hit']
const miss = [200, 'PublicPages; fwd=miss; stored']
const html = { headers: { accept: 'text/html' } }

describe('a visitor’s page', () => {
  test('is rendered once for 50 visitors at the same time, and each gets an id and a timing', async () => {
    const { request, rendered } = setUp()
    const answers = await Promise.all(Array.from({ length: 50 }, () => request('GET', page)))
    expect(rendered).toHaveLength(1)
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([(await direct.request('GET', page)).text]))
    expect(new Set(answers.map(({ headers }) => headers.get('x-request-id'))).size).toBe(50)
    for (const { headers } of answers) expect(headers.get('server-timing')).toContain('d1;desc="0", kv;desc="0"')
  })

  test('is handed over without a header, and the client learns its age but no stale times and no tags', async () => {
    const { request, handedOver, clock } = setUp()
    const headers = { 'user-agent': 'x', 'accept-language': 'fi', 'x-forwarded-host': 'evil.example', cookie: 'a=1' }
    await request('GET', page, { headers })
    expect(handedOver.flatMap(({ headers }) => [...headers])).toEqual([])
    clock.seconds = 59
    const answer = await request('GET', page)
    expect(outcome(answer)).toEqual(hit)
    expect(answer.headers.get('age')).toBe('59')
    expect(answer.headers.get('cache-control')).toBe('public, max-age=60')
    expect(answer.headers.get('vary')).toBe('cookie, authorization')
    expect(answer.headers.get('cache-tag')).toBeNull()
  })

  test('is the same on every host', async () => {
    const { request } = setUp({ env: { OPERATOR_TOKEN: 'drawn at random', RATE_LIMITS: 'on' } })
    const answers = ['https://evil.example', 'https://banyan.example', 'http://localhost'].map((origin) =>
      request('GET', '/login', { origin }),
    )
    const expected = (await direct.request('GET', '/login')).text
    for (const { text } of await Promise.all(answers)) expect(text).toBe(expected)
  })

  test('depends only on the declared parameters, in any order; of repeated ones, the first counts', async () => {
    const { request, rendered } = setUp()
    await request('GET', '/login?next=/settings')
    for (const query of ['utm=1&next=/settings', 'next=/settings&utm=1', 'next=%2Fsettings', 'next=/settings&next=/x'])
      expect(outcome(await request('GET', `/login?${query}`)), query).toEqual(hit)
    const other = await request('GET', '/login?next=/home&utm=1')
    expect([...outcome(other), other.text.includes('value="/home"')]).toEqual([...miss, true])
    expect(rendered.map(({ url }) => new URL(url).search)).toEqual(['?next=%2Fsettings', '?next=%2Fhome'])
    const long = await request('GET', `/login?next=/${'x'.repeat(250)}`)
    expect(outcome(long)).toEqual([200, null])
  })

  test('is whole, whatever the client already has: conditions and ranges are not handed over', async () => {
    const { request } = setUp()
    await request('GET', page)
    for (const headers of [
      { 'if-none-match': '*' },
      { 'if-modified-since': new Date(Date.now() + 1_000).toUTCString() },
      { range: 'bytes=0-1' },
    ] as Record<string, string>[]) {
      const answer = await request('GET', page, { headers })
      expect(outcome(answer)).toEqual(hit)
      expect(answer.text).toContain('For everybody.')
    }
  })

  test('is complete after a HEAD request has filled the cache', async () => {
    const { request, rendered } = setUp()
    const head = await request('HEAD', page)
    expect([...outcome(head), head.text]).toEqual([...miss, ''])
    const get = await request('GET', page)
    expect(outcome(get)).toEqual(hit)
    expect(get.text).toContain('For everybody.')
    expect(rendered).toHaveLength(1)
  })

  test('shows an edit after a minute, to the visitor after the one who starts the refresh', async () => {
    const { request, clock, cache } = setUp()
    const read = async () => {
      const { headers, text } = await request('GET', page)
      await cache.settled()
      return [headers.get('cache-status'), text.includes('Edited.')]
    }
    await read()
    await request('PATCH', '/api/v1/me', { json: { bio: 'Edited.' }, token }) // in the isolate that renders
    expect(await read()).toEqual(['PublicPages; hit', false])
    clock.seconds = 61
    expect(await read()).toEqual(['PublicPages; hit; detail=updating', false])
    expect(await read()).toEqual(['PublicPages; hit', true])
    await setBio('For everybody.')
  })

  test('is not handed over with CACHE=off, and not for a reader with a token or a cookie of ours', async () => {
    const { request, handedOver } = setUp()
    for (const headers of [
      { authorization: 'Basic x' },
      { 'x-causal-token': '' },
      { cookie },
      { cookie: 'a=1; __Host-stamp=' },
      { cookie: '__Host-session =x' },
    ] as Record<string, string>[])
      expect(outcome(await request('GET', page, { headers })), JSON.stringify(headers)).toEqual([200, null])
    expect(handedOver).toEqual([])
    const off = setUp({ env: { CACHE: 'off' } })
    expect(outcome(await off.request('GET', page))).toEqual([200, null])
    expect(off.handedOver).toEqual([])
  })

  test('counts for the rate limit when it comes from the cache', async () => {
    const asked: string[] = []
    const limit = async ({ key }: { key: string }) => ({ success: asked.push(key) <= 2 })
    const { request } = setUp({ env: { RATE_LIMITS: 'on', RATE_LIMIT_REQUESTS: { limit } as unknown as RateLimit } })
    const answers = []
    for (let n = 0; n < 3; n++)
      answers.push((await request('GET', '/login', { headers: { 'cf-connecting-ip': '192.0.2.1' } })).status)
    expect([answers, asked]).toEqual([[200, 200, 429], Array.from({ length: 3 }, () => '192.0.2.1')])
  })
})

describe('an error', () => {
  test('has the id of its own request, and is not kept: a page that appears is there at once', async () => {
    const { request, cache } = setUp()
    const account = somebody()
    for (const accept of ['text/html', 'application/json'])
      for (let n = 0; n < 2; n++) {
        const { status, headers, text } = await request('GET', `/@${account.handle}`, { headers: { accept } })
        expect([status, text.includes(headers.get('x-request-id')!)]).toEqual([404, true])
        expect(headers.get('cache-control')).toBe('no-store')
        expect(headers.get('content-type')).toContain(accept === 'text/html' ? accept : 'application/problem+json')
      }
    expect(cache.size).toBe(0)
    expect((await request('POST', '/api/v1/accounts', { json: account })).status).toBe(201)
    expect(outcome(await request('GET', `/@${account.handle}`))).toEqual(miss)
  })

  test('of a refresh leaves the page for an hour, and is then shown with Retry-After', async () => {
    let isDown = false
    const { request, clock } = setUp({
      around: async (asked, render) => {
        if (!isDown) return render(asked)
        return sendError(new BanyanError('SHARD_UNAVAILABLE', 'shard-000 is down', { retryAfterSeconds: 2 }))
      },
    })
    await request('GET', page)
    isDown = true
    clock.seconds = 60 + 300
    expect(outcome(await request('GET', page))).toEqual([200, 'PublicPages; hit; detail=stale'])
    clock.seconds = 60 + 3_600
    const { status, headers, text } = await request('GET', page, html)
    expect([status, headers.get('retry-after'), headers.get('cache-control')]).toEqual([503, '2', 'no-store'])
    expect(text).toContain(headers.get('x-request-id')!)
    expect(text).not.toContain('shard-000')
  })
})

describe('a hand-over that fails', () => {
  const failures: Record<string, CachedWorkerOptions['around']> = {
    'without an answer in time': () => new Promise(() => {}),
    'with an exception': () => Promise.reject(new Error('the loopback failed')),
    'with the platform’s own error page': async () => new Response('error code: 1102', { status: 503 }),
    'with a page that is not public': async () =>
      new Response('Hello, Ada', { headers: { 'cache-control': 'private' } }),
    'with a page without Cache-Control': async () => new Response('Hello, Ada'),
    'with an unknown code': async () => {
      const headers = { 'content-type': 'application/x-banyan-error+json', 'cache-control': 'no-store' }
      return new Response('{"code":"OF_ANOTHER_VERSION"}', { status: 500, headers })
    },
  }

  const { handOverMs } = limits
  beforeAll(() => void Object.assign(limits, { handOverMs: 200 }))
  afterAll(() => void Object.assign(limits, { handOverMs }))

  test.each(Object.entries(failures))('%s is answered as if there were no cache', async (_, around) => {
    const { request } = setUp(around ? { around } : {})
    const answer = await request('GET', page)
    expect(outcome(answer)).toEqual([200, null])
    expect(answer.text).toBe((await direct.request('GET', page)).text)
  })

  test('is not attempted if the runtime has no entrypoints', async () => {
    const { request } = workerIsolate({ CACHE: 'on' }, () => ({}))
    expect(outcome(await request('GET', page))).toEqual([200, null])
  })

  test('gives the client no cookie that the entrypoint sets', async () => {
    const { request } = setUp({
      around: async (asked, render) => {
        const answer = await render(asked)
        return new Response(answer.body, { headers: { ...Object.fromEntries(answer.headers), 'set-cookie': 'a=1' } })
      },
    })
    for (let n = 0; n < 2; n++) expect((await request('GET', page)).headers.getSetCookie()).toEqual([])
  })
})

describe('PublicPages itself', () => {
  test('has the shared pages alone, without a header of one request', async () => {
    const statuses: number[] = []
    const names = new Set<string>()
    const { request } = setUp({
      around: async (asked, render) => {
        for (const path of [
          '/settings',
          '/home',
          '/signup',
          '/api/v1/me',
          '/healthz',
          '/operator/v1/shards',
          '/readyz',
        ])
          statuses.push((await render(new Request(new URL(path, asked.url)))).status)
        const answer = await render(asked)
        for (const name of answer.headers.keys()) names.add(name)
        return answer
      },
    })
    await request('GET', page)
    expect(statuses).toEqual(statuses.map(() => 404))
    expect(names).toEqual(new Set(['cache-control', 'cache-tag', 'content-type', 'vary']))
  })

  test('marks the page of a reader with a cookie as private, should one ever reach it', async () => {
    const { request, cache } = setUp({
      around: (asked, render) => render(new Request(asked, { headers: { cookie } })),
    })
    const answer = await request('GET', page)
    expect(cache.size).toBe(0)
    expect(answer.text).toBe((await direct.request('GET', page)).text)
  })
})
