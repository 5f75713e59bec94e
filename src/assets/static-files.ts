import { type Clock, inTime, systemClock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'

/** Content types by extension. A file of another kind is neither built nor served. */
export const contentTypes = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
  webp: 'image/webp',
  woff2: 'font/woff2',
} as const

export type StaticExtension = keyof typeof contentTypes

/** `/assets/<name>.<first 16 hex digits of the content's SHA-256>.<extension>`; R2 takes no key over 1,024 bytes. */
const PATH = /^\/assets\/([a-z0-9-]{1,64}\.([0-9a-f]{16})\.([a-z0-9]{1,8}))$/

const RETRY_AFTER_SECONDS = 1

/** The deployment's own files: the `ASSETS` binding. */
interface StaticBundle {
  fetch(request: Request): Promise<Response>
}

/** What of an `R2Bucket` the static files use. */
export interface StaticBucket {
  get(key: string): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>
  put(key: string, bytes: ArrayBuffer, options: R2PutOptions): Promise<unknown>
}

export interface StaticFilesOptions {
  bundle: StaticBundle
  bucket: StaticBucket
  /** The data centre's cache; null where there is none. */
  cache: Pick<Cache, 'match' | 'put'> | null
  log: Log
  clock?: Clock
}

export interface StaticFiles {
  /**
   * Answers for `/assets/…`: 200 or 304 with the file, 404 for what isn't known, 405 for a method other than GET and
   * HEAD, 503 when a file can't be found while a store that may hold it is away. Never throws. The writes that fill
   * the stores go to `waitUntil`.
   */
  respond(request: Request, waitUntil: (promise: Promise<unknown>) => void): Promise<Response>
}

interface StaticFile {
  name: string
  hash: string
  path: string
  type: string
}

type Source = 'r2' | 'bundle'

/** A file's bytes with their whole SHA-256, which was held against its name. */
interface Content {
  bytes: ArrayBuffer
  sha256: string
}

/** The file a URL's path names, or null where the path has another form. */
function staticFileAt(path: string): StaticFile | null {
  const [, name, hash, extension] = PATH.exec(path) ?? []
  if (!name || !hash || !extension || !Object.hasOwn(contentTypes, extension)) return null
  return { name, hash, path, type: contentTypes[extension as StaticExtension] }
}

/** True when `If-None-Match` names this strong ETag; the comparison is weak (RFC 9110, 13.1.2), as a CDN that compresses weakens ours. */
export function matchesEtag(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false
  return ifNoneMatch.split(',').some((candidate) => {
    const tag = candidate.trim()
    return tag === '*' || tag.replace(/^W\//, '') === etag
  })
}

/**
 * Serves content-hashed files. The Cache API is asked first, then R2, which keeps the files of earlier deployments,
 * then the deployment's bundle, from which both are filled. A cache or a bucket that fails is logged and passed over.
 */
export function createStaticFiles(options: StaticFilesOptions): StaticFiles {
  const { bundle, bucket, cache, log, clock = systemClock } = options

  async function respond(request: Request, waitUntil: (promise: Promise<unknown>) => void): Promise<Response> {
    const url = new URL(request.url)
    const file = staticFileAt(url.pathname)
    if (!file) return forMethod(request, refusal(404, 'Not found'))
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refusal(405, 'Method not allowed', { allow: 'GET, HEAD' })
    const whole = await wholeFile(file, url.origin, waitUntil)
    return forMethod(request, forCondition(request, file, whole))
  }

  /** The answer to an unconditional GET. */
  async function wholeFile(file: StaticFile, origin: string, waitUntil: (promise: Promise<unknown>) => void) {
    // Neither the query nor a header of the caller's: the cache would answer a range or a condition by itself.
    const key = new Request(origin + file.path)
    const cached = cache && (await attempt('cache.match', file, () => cache.match(key)))
    if (cached instanceof Response) return fileResponse(file, cached, 'hit')

    const kept = await fromBucket(file)
    const shipped = isContent(kept) ? null : await fromBundle(file, key)
    const found = isContent(kept) ? kept : shipped
    const forward = cache ? 'fwd=miss' : 'fwd=bypass'
    if (!isContent(found)) return absence(kept === 'failed' || shipped === 'failed', forward)

    const source: Source = found === kept ? 'r2' : 'bundle'
    if (kept === null) waitUntil(keepInBucket(file, found))
    const isStored = cache !== null && cached !== 'failed'
    if (isStored) waitUntil(attempt('cache.put', file, () => cache.put(key, cacheable(file, found))))
    return fileResponse(file, found, `${forward};${isStored ? ' stored;' : ''} detail=${source}`)
  }

  const fromBucket = (file: StaticFile): Promise<Content | null | 'failed'> =>
    attempt('r2.get', file, () => readBucket(file))

  async function readBucket(file: StaticFile): Promise<Content | null> {
    const object = await bucket.get(bucketKey(file))
    return object && intact(file, 'r2', await object.arrayBuffer())
  }

  const fromBundle = (file: StaticFile, key: Request): Promise<Content | null | 'failed'> =>
    attempt('bundle.fetch', file, () => readBundle(file, key), limits.bundleWaitMs)

  async function readBundle(file: StaticFile, key: Request): Promise<Content | null> {
    const response = await bundle.fetch(key)
    if (response.status === 200) return intact(file, 'bundle', await response.arrayBuffer())
    await response.body?.cancel()
    if (response.status >= 500) throw new Error(`The bundle answered ${response.status}`)
    return null
  }

  /** Null, and a line in the log, for bytes that aren't what the name says: an HTML fallback page, say. */
  async function intact(file: StaticFile, source: Source, bytes: ArrayBuffer): Promise<Content | null> {
    const sha256 = await sha256Hex(bytes)
    if (sha256.startsWith(file.hash)) return { bytes, sha256 }
    log.warn('static-files.mismatch', { source, file: file.name, sha256 })
    return null
  }

  const keepInBucket = (file: StaticFile, { bytes, sha256 }: Content) =>
    attempt('r2.put', file, () =>
      bucket.put(bucketKey(file), bytes, {
        sha256,
        httpMetadata: { contentType: file.type, cacheControl: CACHE_CONTROL },
      }),
    )

  /** A store that does not answer in time counts as failed: the bundle is near. */
  async function attempt<T>(
    operation: string,
    file: StaticFile,
    call: () => Promise<T>,
    waitMs: number = limits.storeWaitMs,
  ): Promise<T | 'failed'> {
    try {
      return await inTime(clock, waitMs, call())
    } catch (error) {
      log.warn('static-files.failed', { operation, file: file.name, reason: messageOf(error) })
      return 'failed'
    }
  }

  return { respond }
}

const CACHE_CONTROL = 'public, max-age=31536000, immutable'

const bucketKey = (file: StaticFile): string => `static/${file.name}`

const etagOf = (file: StaticFile): string => `"${file.hash}"`

const isContent = (found: Content | null | 'failed'): found is Content => found !== null && found !== 'failed'

async function sha256Hex(bytes: ArrayBuffer): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')
}

const fileHeaders = (file: StaticFile): Record<string, string> => ({
  'content-type': file.type,
  'cache-control': CACHE_CONTROL,
  etag: etagOf(file),
  'x-content-type-options': 'nosniff',
})

const cacheable = (file: StaticFile, { bytes }: Content): Response =>
  new Response(bytes, { headers: { ...fileHeaders(file), 'content-length': String(bytes.byteLength) } })

/** 200 with the file. `status` is the parameters of `cache-status` (RFC 9211). */
function fileResponse(file: StaticFile, found: Response | Content, status: string): Response {
  const response = found instanceof Response ? new Response(found.body, found) : cacheable(file, found)
  // What the cache holds may have been put there, with other headers, by a version of a year ago.
  for (const [name, value] of Object.entries(fileHeaders(file))) response.headers.set(name, value)
  response.headers.set('cache-status', `banyan; ${status}`)
  return response
}

function refusal(status: 404 | 405 | 503, text: string, headers: Record<string, string> = {}): Response {
  const always = {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  return new Response(`${text}\n`, { status, headers: { ...always, ...headers } })
}

/** A store that is away may hold the file: "not found" would be a guess. */
function absence(isUncertain: boolean, forward: string): Response {
  const headers = { 'cache-status': `banyan; ${forward}` }
  if (!isUncertain) return refusal(404, 'Not found', headers)
  return refusal(503, 'Not available at the moment', { ...headers, 'retry-after': String(RETRY_AFTER_SECONDS) })
}

function forCondition(request: Request, file: StaticFile, whole: Response): Response {
  if (whole.status !== 200 || !matchesEtag(request.headers.get('if-none-match'), etagOf(file))) return whole
  const headers = new Headers(whole.headers)
  for (const name of ['content-type', 'content-length', 'content-encoding']) headers.delete(name)
  return withoutBody(whole, 304, headers)
}

const forMethod = (request: Request, response: Response): Response =>
  request.method === 'HEAD' ? withoutBody(response, response.status, response.headers) : response

function withoutBody(response: Response, status: number, headers: Headers): Response {
  // A body from the cache that nobody reads would hold its connection until the request ends.
  void response.body?.cancel()
  return new Response(null, { status, headers })
}
