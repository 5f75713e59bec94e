import type { Context, Handler, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import { matchesEtag } from '../../assets/static-files.ts'
import type { WebEnv } from '../context.ts'
import type { Sharing } from '../sharing.ts'

/**
 * A page of people's data. A busy page shows an edit after 60 s, and a quiet one after 6 minutes at most: its first
 * visitor starts the refresh. A longer stale time would show older edits; a shorter one would make that visitor wait.
 * For an hour, pages that were seen survive an unavailable shard.
 */
const ofData = { maxAgeSeconds: 60, staleSeconds: 300, errorSeconds: 3_600 }

/** A page that only a deployment changes. A deployment starts with an empty cache. Browsers still ask each minute. */
const ofCode = { maxAgeSeconds: 60, staleSeconds: 86_400, errorSeconds: 86_400 }

/**
 * A file of a user. The shared cache asks for it again once a week, so one that nobody reads is not kept for long. A
 * purge removes it after a deletion.
 */
const ofFile = { maxAgeSeconds: 604_800, staleSeconds: 0, errorSeconds: 86_400, isFile: true } as const

const sharings = { ofData, ofCode, ofFile }

/** The sharing of each route, by the middleware that declares it. */
const declared = new WeakMap<Handler | MiddlewareHandler, Sharing>()

/** For a route whose page is the same for all visitors. Other answers of the route (errors) stay `no-store`. */
export function sharedPage(kind: keyof typeof sharings, ...query: string[]): MiddlewareHandler<WebEnv> {
  const sharing = { ...sharings[kind], query }
  const middleware = createMiddleware<WebEnv>(async function sharedPage(c, next) {
    c.set('sharing', sharing)
    await next()
  })
  declared.set(middleware, sharing)
  return middleware
}

/** The sharing that this handler declares. */
export const declaredSharing = (handler: Handler | MiddlewareHandler): Sharing | undefined => declared.get(handler)

/** Names the entities on a shared page, whose deletion purges the page from the cache. */
export const tagPage = (c: Context<WebEnv>, ...tags: string[]): void =>
  c.set('cacheTags', [...(c.get('cacheTags') ?? []), ...tags])

/** Records that the answer depends on a cookie or a token, even one that is not valid. */
export const markPersonal = (c: Context<WebEnv>): void => c.set('isPersonal', true)

/**
 * Gives every answer an explicit Cache-Control (INV-8), because a shared cache keeps a 200 without one for two hours.
 * `no-store`, unless the route declares that visitors share its page. An answer that depends on a cookie or a token,
 * or sets a cookie, is private, whatever its route declares.
 */
export const cacheControl = (reader: 'client' | 'shared cache') =>
  createMiddleware<WebEnv>(async function cacheControl(c, next) {
    await next()
    const { headers, status } = c.res
    const sharing = c.get('sharing')
    const isPersonal = c.get('isPersonal') || headers.has('set-cookie')
    if (isPersonal) headers.set('cache-control', 'private, no-store')
    else if (status === 200 && sharing) share(headers, sharing, reader)
    else if (!isOk(status) || !headers.has('cache-control')) headers.set('cache-control', 'no-store')
    if (reader === 'client' && sharing?.isFile) c.res = unlessKnown(c)
    if (reader === 'shared cache' && !isPersonal) headers.set('cache-tag', [...new Set(c.get('cacheTags'))].join(','))
  })

/** 304 instead of a file that the client has. */
function unlessKnown(c: Context<WebEnv>): Response {
  const etag = c.res.headers.get('etag')
  if (c.res.status !== 200 || etag === null) return c.res
  if (!matchesEtag(c.req.header('if-none-match') ?? null, etag)) return c.res
  void c.res.body?.cancel()
  const headers = new Headers(c.res.headers)
  for (const name of ['content-type', 'content-length']) headers.delete(name)
  return new Response(null, { status: 304, headers })
}

/** Only files answer 304, and they set their own Cache-Control. */
const isOk = (status: number): boolean => status === 200 || status === 304

/**
 * Clients get no stale times, because no purge reaches a browser. They get `Vary`, because after a log-in the same
 * address has another page.
 */
function share(headers: Headers, sharing: Sharing, reader: string): void {
  const { maxAgeSeconds, staleSeconds, errorSeconds, isFile } = sharing
  if (isFile && reader === 'client') {
    headers.set('cache-control', 'public, max-age=31536000, immutable')
    return
  }
  const forAll = `public, max-age=${maxAgeSeconds}`
  const stale = `, stale-while-revalidate=${staleSeconds}, stale-if-error=${errorSeconds}`
  headers.set('cache-control', reader === 'client' ? forAll : forAll + stale)
  headers.set('vary', 'cookie, authorization')
}
