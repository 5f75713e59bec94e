import { type Clock, inTime, systemClock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'

/** Content types by extension. Files with other extensions are neither built nor served. */
export const contentTypes = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
  webp: 'image/webp',
  woff2: 'font/woff2',
} as const

export type StaticExtension = keyof typeof contentTypes

/**
 * `/assets/<name>.<first 16 hex digits of the content's SHA-256>.<extension>`; R2 accepts keys of at most 1,024 bytes.
 */
const PATH = /^\/assets\/([a-z0-9-]{1,64}\.([0-9a-f]{16})\.([a-z0-9]{1,8}))$/

const RETRY_AFTER_SECONDS = 1

/** The deployment's own files: the `ASSETS` binding. */
interface StaticBundle {
  fetch(request: Request): Promise<Response>
}

/** The part of `R2Bucket` that static files use. */
export interface StaticBucket {
  get(key: string): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>
  put(key: string, bytes: ArrayBuffer, options: R2PutOptions): Promise<unknown>
}

export interface StaticFilesOptions {
  bundle: StaticBundle
  bucket: StaticBucket
  /** The data centre's cache; null if there is none. */
  cache: Pick<Cache, 'match' | 'put'> | null
  log: Log
  clock?: Clock
}

export interface StaticFiles {
  /**
   * Answers for `/assets/…`: 200 with the file or 304, 404 for an unknown file, 405 for a method other than GET and
   * HEAD, 503 if the file is not found and a store that may have it is unavailable. Never throws. Writes that fill the
   * stores run in `waitUntil`.
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

/** A file's bytes and their SHA-256, which matches the file's name. */
interface Content {
  bytes: ArrayBuffer
  sha256: string
}

/** The file that a URL's path names, or null if the path has another form. */
function staticFileAt(path: string): StaticFile | null {
  const [, name, hash, extension] = PATH.exec(path) ?? []
  if (!name || !hash || !extension || !Object.hasOwn(contentTypes, extension)) return null
  return { name, hash, path, type: contentTypes[extension as StaticExtension] }
}

/**
 * True if `If-None-Match` names this ETag. Compares weakly (RFC 9110, 13.1.2), because a compressing CDN weakens ETags.
 */
export function matchesEtag(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false
  return ifNoneMatch.split(',').some((candidate) => {
    const tag = candidate.trim()
    return tag === '*' || tag.replace(/^W\//, '') === etag
  })
}

/**
 * Serves content-hashed files. Looks in the Cache API, then in R2, which keeps the files of earlier deployments, then
 * in the deployment's bundle, and fills the first two from it. Logs and skips a failing cache or bucket.
 */
export function createStaticFiles(options: StaticFilesOptions): StaticFiles {
  const { bundle, bucket, cache, log, clock = systemClock } = options

  async function respond(request: Request, waitUntil: (promise: Promise<unknown>) => void): Promise<Response> {
    const url = new URL(request.url)
    const file = staticFileAt(url.pathname)
    if (!file) return forMethod(request, refusal(404, 'Not found'))
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refusal(405, 'Method not allowed. Use GET or HEAD.', { allow: 'GET, HEAD' })
    const whole = await wholeFile(file, url.origin, waitUntil)
    return forMethod(request, forCondition(request, file, whole))
  }

  /** The answer to an unconditional GET. */
  async function wholeFile(file: StaticFile, origin: string, waitUntil: (promise: Promise<unknown>) => void) {
    // The key has no query and no headers of the caller. Otherwise the cache would answer range and conditional requests.
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
    if (response.status >= 500) throw new Error(`the bundle answered ${response.status}`)
    return null
  }

  /** Null, with a line in the log, if the bytes do not match the name's hash, for example an HTML fallback page. */
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

  /** A store that does not answer in time counts as failed, because the bundle is close. */
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
  // A version of up to a year ago may have cached the file with other headers.
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

/** 503 if a store was unavailable, because it may have the file. */
function absence(isUncertain: boolean, forward: string): Response {
  const headers = { 'cache-status': `banyan; ${forward}` }
  if (!isUncertain) return refusal(404, 'Not found', headers)
  return refusal(503, 'The file is not available at the moment. Try again in a second.', {
    ...headers,
    'retry-after': String(RETRY_AFTER_SECONDS),
  })
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
  // An unread body from the cache would hold its connection until the request ends.
  void response.body?.cancel()
  return new Response(null, { status, headers })
}
