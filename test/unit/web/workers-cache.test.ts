import { describe, expect, test } from 'vitest'
import { WorkersCache } from '../../support/workers-cache.ts'

/** A cache with a clock in seconds, in front of an entrypoint whose answers a test decides. */
function setUp(answer: (request: Request) => Response | Promise<Response>) {
  const clock = { seconds: 0, now: () => clock.seconds * 1_000 }
  const cache = new WorkersCache(clock)
  let runs = 0
  const pages = cache.entrypoint('Pages', async (request) => {
    runs++
    return answer(request)
  })
  const ask = async (path = '/', init: RequestInit = {}, host = 'https://a.example') => {
    const response = await pages.fetch(new Request(host + path, init))
    await cache.settled()
    return { outcome: response.headers.get('cf-cache-status'), text: await response.text(), response }
  }
  return { cache, pages, clock, ask, runs: () => runs }
}

/** An answer with these headers, numbered. */
function numbered(headers: Record<string, string>, status = 200) {
  let number = 0
  return () => new Response(String(++number), { status, headers })
}

const page = { 'cache-control': 'public, max-age=60, stale-while-revalidate=30, stale-if-error=300' }

describe('the double of Workers Cache', () => {
  test('its key is the address without the host, and no cookie or Authorization', async () => {
    const { ask, runs, cache } = setUp(numbered(page))
    await ask()
    const others = [{ cookie: 'a=1' }, { authorization: 'Bearer x' }, { accept: 'text/html' }]
    for (const headers of others) expect(await ask('/', { headers })).toMatchObject({ outcome: 'HIT', text: '1' })
    expect(await ask('/', {}, 'https://b.example')).toMatchObject({ outcome: 'HIT', text: '1' })
    expect(await ask('/', { method: 'HEAD' })).toMatchObject({ outcome: 'HIT', text: '' })
    for (const path of ['/?a=1&b=2', '/?b=2&a=1', '/x', '/x/']) expect((await ask(path)).outcome).toBe('MISS')
    expect((await ask('/', { headers: { 'x-forwarded-host': 'b.example' } })).outcome).toBe('MISS')
    cache.version = 'version-2'
    expect((await ask()).outcome).toBe('MISS')
    expect(runs()).toBe(7)
  })

  test('a HEAD request fills it with the whole page', async () => {
    const { ask } = setUp(numbered(page))
    expect(await ask('/', { method: 'HEAD' })).toMatchObject({ outcome: 'MISS', text: '' })
    expect(await ask()).toMatchObject({ outcome: 'HIT', text: '1' })
  })

  test.each([
    [200, 7_200],
    [301, 1_200],
    [404, 180],
    [405, 60],
    [414, 60],
  ])('keeps a %i without Cache-Control for %i s', async (status, seconds) => {
    const { ask, clock } = setUp(numbered({}, status))
    await ask()
    clock.seconds = seconds - 1
    expect((await ask()).outcome).toBe('HIT')
    clock.seconds = seconds
    expect((await ask()).outcome).toBe('EXPIRED')
  })

  test.each([
    ['no-store', { 'cache-control': 'no-store' }, 200],
    ['private', { 'cache-control': 'private, max-age=60' }, 200],
    ['Set-Cookie', { ...page, 'set-cookie': 'a=1' }, 200],
    ['Vary: *', { ...page, vary: '*' }, 200],
    ['no Cache-Control, and a status without a default', {}, 403],
    ['206', page, 206],
    ['520', page, 520],
  ] as const)('does not store an answer with %s', async (_, headers, status) => {
    const { ask, cache } = setUp(numbered(headers as Record<string, string>, status))
    expect((await ask()).outcome).toBe('BYPASS')
    expect(cache.size).toBe(0)
  })

  test('stores an answer to a request with Authorization only if it is public', async () => {
    const headers = { authorization: 'Bearer x' }
    expect((await setUp(numbered({ 'cache-control': 'max-age=60' })).ask('/', { headers })).outcome).toBe('BYPASS')
    expect((await setUp(numbered(page)).ask('/', { headers })).outcome).toBe('MISS')
  })

  test('the most specific Cache-Control counts, and is not passed on; neither are the tags', async () => {
    const headers = { ...page, 'cloudflare-cdn-cache-control': 'max-age=600', 'cache-tag': 'a' }
    const { ask, clock } = setUp(numbered(headers))
    const { response } = await ask()
    expect([...response.headers.keys()]).toEqual(['cache-control', 'cf-cache-status', 'content-type'])
    clock.seconds = 599
    expect((await ask()).response.headers.get('age')).toBe('599')
    expect((await ask()).outcome).toBe('HIT')
  })

  test('serves a stale page while it refreshes it, and no longer', async () => {
    const { ask, clock } = setUp(numbered(page))
    await ask()
    clock.seconds = 89
    expect(await ask()).toMatchObject({ outcome: 'UPDATING', text: '1' })
    expect(await ask()).toMatchObject({ outcome: 'HIT', text: '2' })
    clock.seconds = 89 + 90
    expect(await ask()).toMatchObject({ outcome: 'EXPIRED', text: '3' })
  })

  test('serves a stale page when a refresh fails, for its time; s-maxage forbids both', async () => {
    let isDown = false
    const failing = (headers: Record<string, string>) => () =>
      isDown
        ? new Response('', { status: 503, headers: { 'cache-control': 'no-store' } })
        : new Response('1', { headers })
    const { ask, clock } = setUp(failing(page))
    const strict = setUp(failing({ 'cache-control': `${page['cache-control']}, s-maxage=60` }))
    await ask()
    await strict.ask()
    isDown = true
    clock.seconds = 100
    strict.clock.seconds = 61
    expect(await ask()).toMatchObject({ outcome: 'STALE', text: '1' })
    expect((await strict.ask()).response.status).toBe(503)
    clock.seconds = 60 + 300
    expect((await ask()).response.status).toBe(503)
  })

  test('keeps one variant per value of the headers that Vary names', async () => {
    const { ask } = setUp(
      ({ headers }) => new Response(headers.get('accept'), { headers: { ...page, vary: 'Accept' } }),
    )
    const asked = (accept: string) => ask('/', { headers: { accept } })
    expect([(await asked('a')).text, (await asked('b')).text, (await asked('a')).outcome]).toEqual(['a', 'b', 'HIT'])
  })

  test('of concurrent misses one runs; if its answer may not be stored, each runs', async () => {
    const shared = setUp(numbered(page))
    const texts = await Promise.all(Array.from({ length: 10 }, () => shared.ask()))
    expect([shared.runs(), new Set(texts.map(({ text }) => text)).size]).toEqual([1, 1])
    const own = setUp(numbered({ 'cache-control': 'no-store' }))
    await Promise.all(Array.from({ length: 10 }, () => own.ask()))
    expect(own.runs()).toBe(10)
  })

  test('a purge reaches the tags of its own entrypoint, in any case, and a fill under way survives it', async () => {
    const begun = Promise.withResolvers<void>()
    const answer = numbered({ ...page, 'cache-tag': 'post:1,user:1' })
    const { cache, pages, ask } = setUp(async (request) => {
      if (request.url.endsWith('/slow')) await begun.promise
      return answer()
    })
    const other = cache.entrypoint('Other', async () => answer())
    await ask()
    await other.fetch(new Request('https://a.example/'))
    const slow = ask('/slow')
    expect(await pages.cache.purge({ tags: ['POST:1'] })).toEqual({ success: true, errors: [] })
    expect(cache.size).toBe(1)
    begun.resolve()
    await slow
    expect(cache.size).toBe(2)
  })

  test('refuses the sixth purge within a minute, and more than 100 tags', async () => {
    const { pages, clock } = setUp(numbered(page))
    const purge = async (tags: string[]) => (await pages.cache.purge({ tags })).success
    for (let call = 0; call < 5; call++) expect(await purge(['a'])).toBe(true)
    expect(await purge(['a'])).toBe(false)
    clock.seconds = 60
    expect(await purge(Array.from({ length: 101 }, (_, n) => `tag-${n}`))).toBe(false)
  })
})
