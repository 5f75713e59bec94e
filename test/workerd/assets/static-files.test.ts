import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import {
  createStaticFiles,
  matchesEtag,
  type StaticBucket,
  type StaticFilesOptions,
} from '../../../src/assets/static-files.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { createLog } from '../../../src/core/log.ts'

/** Time limits pass a hundred times faster. */
const hurried: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) }

const origin = 'https://banyan.test'
const realBucket = (env as unknown as { BUCKET: R2Bucket }).BUCKET
const realCache = caches.default

/** A file that is not stored yet, because stores outlive a test. */
async function newFile(extension = 'css') {
  const text = `/* ${crypto.randomUUID()} */`
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  const hash = Buffer.from(digest).toString('hex').slice(0, 16)
  const name = `style.${hash}.${extension}`
  return { text, hash, etag: `"${hash}"`, path: `/assets/${name}`, key: `static/${name}` }
}

/** The ASSETS binding. It answers conditions and ranges by itself, and 404 for unknown files. */
function bundleOf(files: Record<string, string>, fallback: () => Response = () => new Response('no', { status: 404 })) {
  const calls: string[] = []
  const fetch = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url)
    calls.push(`${request.method} ${pathname}`)
    const text = files[pathname]
    if (text === undefined) return fallback()
    if (request.headers.has('if-none-match')) return new Response(null, { status: 304 })
    if (request.headers.has('range')) return new Response(text.slice(0, 1), { status: 206 })
    return new Response(request.method === 'HEAD' ? null : text)
  }
  return { fetch, calls }
}

const noBundle = bundleOf({})
const down = async (): Promise<never> => {
  throw new Error('down')
}
const hung = () => new Promise<never>(() => {})

function server(options: Partial<StaticFilesOptions>) {
  const logged: string[] = []
  const log = createLog({}, (_, line) => {
    const { event, operation, source } = JSON.parse(line)
    logged.push(`${event} ${operation ?? source}`)
  })
  const files = createStaticFiles({ bundle: noBundle, bucket: realBucket, cache: realCache, log, ...options })
  /** Answers, and lets the writes after the answer finish. */
  const ask = async (path: string, init?: RequestInit) => {
    const behind: Promise<unknown>[] = []
    const response = await files.respond(new Request(origin + path, init), (promise) => behind.push(promise))
    await Promise.all(behind)
    return response
  }
  return { ask, logged }
}

const textInBucket = async (key: string) => (await realBucket.get(key))?.text()
const cacheStatus = (response: Response) => response.headers.get('cache-status')

test('the first use comes from the bundle and fills R2 and the cache, which answer from then on', async () => {
  const file = await newFile()
  const bundle = bundleOf({ [file.path]: file.text })
  const { ask, logged } = server({ bundle })

  const first = await ask(file.path)
  expect(first.status).toBe(200)
  expect(Object.fromEntries(first.headers)).toEqual({
    'content-type': 'text/css; charset=utf-8',
    'content-length': String(file.text.length),
    'cache-control': 'public, max-age=31536000, immutable',
    etag: file.etag,
    'x-content-type-options': 'nosniff',
    'cache-status': 'banyan; fwd=miss; stored; detail=bundle',
  })
  expect(await first.text()).toBe(file.text)

  const second = await ask(file.path)
  expect(cacheStatus(second)).toBe('banyan; hit')
  expect(second.headers.get('etag')).toBe(file.etag)
  expect(second.headers.get('content-type')).toBe('text/css; charset=utf-8')
  expect(second.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  expect(await second.text()).toBe(file.text)

  const elsewhere = await server({ bundle, cache: null }).ask(file.path)
  expect(cacheStatus(elsewhere)).toBe('banyan; fwd=bypass; detail=r2')
  expect(await elsewhere.text()).toBe(file.text)

  expect(bundle.calls).toEqual([`GET ${file.path}`])
  expect((await realBucket.head(file.key))?.httpMetadata).toEqual({
    contentType: 'text/css; charset=utf-8',
    cacheControl: 'public, max-age=31536000, immutable',
  })
  expect(logged).toEqual([])
})

test('a file of an earlier deployment is found in R2', async () => {
  const file = await newFile('js')
  await realBucket.put(file.key, file.text)
  const response = await server({}).ask(file.path)
  expect(cacheStatus(response)).toBe('banyan; fwd=miss; stored; detail=r2')
  expect(response.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
  expect(await response.text()).toBe(file.text)
  expect(cacheStatus(await server({}).ask(file.path))).toBe('banyan; hit')
})

test('HEAD has the headers of GET and no body, and fills the stores with the whole file', async () => {
  const file = await newFile()
  const { ask } = server({ bundle: bundleOf({ [file.path]: file.text }) })
  const head = await ask(file.path, { method: 'HEAD' })
  expect(head.status).toBe(200)
  expect(head.body).toBeNull()
  expect(head.headers.get('content-length')).toBe(String(file.text.length))
  expect(head.headers.get('etag')).toBe(file.etag)
  expect(await textInBucket(file.key)).toBe(file.text)

  const get = await ask(file.path)
  expect(cacheStatus(get)).toBe('banyan; hit')
  expect(await get.text()).toBe(file.text)
  const headOnHit = await ask(file.path, { method: 'HEAD' })
  expect([headOnHit.status, headOnHit.body, cacheStatus(headOnHit)]).toEqual([200, null, 'banyan; hit'])
})

test('a matching condition is answered 304, on a miss and on a hit, and the whole file is stored', async () => {
  const file = await newFile()
  const { ask } = server({ bundle: bundleOf({ [file.path]: file.text }) })
  const onMiss = await ask(file.path, { headers: { 'if-none-match': `"other", W/${file.etag}` } })
  expect(onMiss.status).toBe(304)
  expect(onMiss.body).toBeNull()
  expect(Object.fromEntries(onMiss.headers)).toEqual({
    'cache-control': 'public, max-age=31536000, immutable',
    etag: file.etag,
    'x-content-type-options': 'nosniff',
    'cache-status': 'banyan; fwd=miss; stored; detail=bundle',
  })
  expect(await textInBucket(file.key)).toBe(file.text)

  for (const condition of [file.etag, '*']) {
    const onHit = await ask(file.path, { headers: { 'if-none-match': condition } })
    expect([onHit.status, cacheStatus(onHit)]).toEqual([304, 'banyan; hit'])
    expect(onHit.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  }
  const changed = await ask(file.path, { headers: { 'if-none-match': '"other"' } })
  expect([changed.status, await changed.text()]).toEqual([200, file.text])
})

test('ETags are compared weakly, and lists are read', () => {
  const etag = '"0123456789abcdef"'
  const meets = [etag, `W/${etag}`, `"a", ${etag}`, `"a",W/${etag} , "b"`, '*', ' * ']
  expect(meets.filter((header) => !matchesEtag(header, etag))).toEqual([])
  const fails = [null, '', '"a"', '0123456789abcdef', '"0123456789abcdef0"', `w/${etag}`]
  expect(fails.filter((header) => matchesEtag(header, etag))).toEqual([])
})

test('a range or a query changes nothing: the whole file is served from the same place in the cache', async () => {
  const file = await newFile()
  const { ask } = server({ bundle: bundleOf({ [file.path]: file.text }) })
  const onMiss = await ask(`${file.path}?a=1`, { headers: { range: 'bytes=0-0' } })
  expect([onMiss.status, await onMiss.text()]).toEqual([200, file.text])
  const onHit = await ask(`${file.path}?a=2`, { headers: { range: 'bytes=0-0' } })
  expect([onHit.status, await onHit.text(), cacheStatus(onHit)]).toEqual([200, file.text, 'banyan; hit'])
})

test('other methods are refused', async () => {
  const file = await newFile()
  const bundle = bundleOf({ [file.path]: file.text })
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const response = await server({ bundle }).ask(file.path, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  }
  expect(bundle.calls).toEqual([])
})

test('a path of another form is 404 without a look into any store', async () => {
  const touched: string[] = []
  const touch = (store: string) => async (): Promise<never> => {
    touched.push(store)
    throw new Error('touched')
  }
  const { ask, logged } = server({
    bundle: { fetch: touch('bundle') },
    bucket: { get: touch('bucket'), put: touch('bucket') },
    cache: { match: touch('cache'), put: touch('cache') },
  })
  const hash = '0123456789abcdef'
  const paths = [
    '/assets/style.css',
    `/assets/style.${hash.slice(1)}.css`,
    `/assets/style.${hash}0.css`,
    `/assets/style.${hash.toUpperCase()}.css`,
    `/assets/style.${hash}.exe`,
    `/assets/style.${hash}.constructor`,
    `/assets/style.${hash}`,
    `/assets/.${hash}.css`,
    `/assets/a/style.${hash}.css`,
    `/assets/%2e%2e%2fstyle.${hash}.css`,
    `/assets/${'a'.repeat(65)}.${hash}.css`,
    `/other/style.${hash}.css`,
    `/assets/style.${hash}.css/`,
  ]
  for (const path of paths) {
    const response = await ask(path)
    expect([path, response.status, response.headers.get('cache-control')]).toEqual([path, 404, 'no-store'])
  }
  expect([touched, logged]).toEqual([[], []])
})

test('an unknown file is 404, which is not cached: once deployed, it is found', async () => {
  const file = await newFile()
  for (const method of ['GET', 'HEAD']) {
    const response = await server({}).ask(file.path, { method, headers: { 'if-none-match': '*' } })
    expect([response.status, response.headers.get('cache-control')]).toEqual([404, 'no-store'])
  }
  const deployed = await server({ bundle: bundleOf({ [file.path]: file.text }) }).ask(file.path)
  expect(deployed.status).toBe(200)
})

test('an HTML fallback page under a hashed name is neither served nor stored', async () => {
  const file = await newFile()
  const html = () => new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } })
  const { ask, logged } = server({ bundle: bundleOf({}, html) })
  expect((await ask(file.path)).status).toBe(404)
  expect(await realBucket.head(file.key)).toBeNull()
  expect(await realCache.match(origin + file.path)).toBeUndefined()
  expect(logged).toEqual(['static-files.mismatch bundle'])
})

test('bytes in R2 that do not match their name are replaced by the bundle’s', async () => {
  const file = await newFile()
  await realBucket.put(file.key, 'something else')
  const { ask, logged } = server({ bundle: bundleOf({ [file.path]: file.text }) })
  const response = await ask(file.path)
  expect([await response.text(), cacheStatus(response)]).toEqual([file.text, 'banyan; fwd=miss; stored; detail=bundle'])
  expect(await textInBucket(file.key)).toBe(file.text)
  expect(logged).toEqual(['static-files.mismatch r2'])
})

const get = (key: string) => realBucket.get(key)
const put: StaticBucket['put'] = (key, bytes, options) => realBucket.put(key, bytes, options)
const match = (request: RequestInfo) => realCache.match(request)
const store = (request: RequestInfo, response: Response) => realCache.put(request, response)
const miss = async () => undefined
const stored = 'banyan; fwd=miss; stored; detail=bundle'
const notStored = 'banyan; fwd=miss; detail=bundle'

test.for<{ fault: string; options: Partial<StaticFilesOptions>; logs: string[]; status: string }>([
  { fault: 'R2 refuses a read', options: { bucket: { get: down, put } }, logs: ['r2.get'], status: stored },
  { fault: 'R2 does not answer', options: { bucket: { get: hung, put } }, logs: ['r2.get'], status: stored },
  {
    fault: 'R2’s body is interrupted',
    options: { bucket: { get: async () => ({ arrayBuffer: down }), put } },
    logs: ['r2.get'],
    status: stored,
  },
  { fault: 'R2 refuses a write', options: { bucket: { get, put: down } }, logs: ['r2.put'], status: stored },
  {
    fault: 'the cache refuses a read',
    options: { cache: { match: down, put: store } },
    logs: ['cache.match'],
    status: notStored,
  },
  {
    fault: 'the cache does not answer',
    options: { cache: { match: hung, put: store } },
    logs: ['cache.match'],
    status: notStored,
  },
  { fault: 'the cache refuses a write', options: { cache: { match, put: down } }, logs: ['cache.put'], status: stored },
  {
    fault: 'both are unavailable',
    options: { bucket: { get: down, put: down }, cache: { match: down, put: down } },
    logs: ['cache.match', 'r2.get'],
    status: notStored,
  },
  {
    fault: 'both refuse writes',
    options: { bucket: { get: async () => null, put: down }, cache: { match: miss, put: down } },
    logs: ['r2.put', 'cache.put'],
    status: stored,
  },
])('the caller gets the file if $fault', async ({ options, logs, status }) => {
  const file = await newFile()
  const { ask, logged } = server({ bundle: bundleOf({ [file.path]: file.text }), clock: hurried, ...options })
  const response = await ask(file.path)
  expect([response.status, await response.text(), cacheStatus(response)]).toEqual([200, file.text, status])
  expect(logged).toEqual(logs.map((operation) => `static-files.failed ${operation}`))
})

test('a failed read of R2 is not followed by a write, because R2 may have the file', async () => {
  const file = await newFile()
  const { ask } = server({ bundle: bundleOf({ [file.path]: file.text }), bucket: { get: down, put } })
  await ask(file.path)
  expect(await realBucket.head(file.key)).toBeNull()
})

test.for<{ fault: string; options: Partial<StaticFilesOptions> }>([
  { fault: 'R2 is unavailable and the bundle does not have the file', options: { bucket: { get: down, put } } },
  { fault: 'the bundle throws', options: { bundle: { fetch: down } } },
  { fault: 'the bundle answers 500', options: { bundle: bundleOf({}, () => new Response('', { status: 500 })) } },
])('503, not 404, if $fault', async ({ options }) => {
  const file = await newFile()
  const response = await server(options).ask(file.path)
  expect([response.status, response.headers.get('retry-after'), response.headers.get('cache-control')]).toEqual([
    503,
    '1',
    'no-store',
  ])
})
