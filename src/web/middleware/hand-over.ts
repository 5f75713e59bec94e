import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import { inTime } from '../../core/clock.ts'
import { BanyanError, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { WebEnv } from '../context.ts'
import { hasOwnCookie } from '../cookies.ts'
import { sharedRequest, throwSent } from '../public-pages.ts'
import type { PublicPages, Sharing } from '../sharing.ts'
import { declaredSharing } from './cache-control.ts'

/** The outcome that the platform reports in Cf-Cache-Status, as a Cache-Status (RFC 9211). */
const outcomes: Record<string, string> = {
  HIT: 'hit',
  MISS: 'fwd=miss; stored',
  EXPIRED: 'fwd=stale; stored',
  REVALIDATED: 'hit; detail=revalidated',
  UPDATING: 'hit; detail=updating',
  STALE: 'hit; detail=stale',
}

/** The headers of a shared page that the client gets. The middleware adds those of its own request. */
const pageHeaders = ['content-type', 'age', 'etag', 'content-disposition']

/**
 * Answers a visitor from the shared cache in front of `PublicPages`. It runs before anything that may wait for the
 * directory or a shard. If the hand-over fails, the routes answer.
 */
export const handOver = () =>
  createMiddleware<WebEnv>(async function handOver(c, next) {
    const { publicPages, log } = c.get('tiers')
    const declared = publicPages && sharingOf(c)
    const sharing = declared && (declared.isFile ? isRead(c) : isVisitor(c)) ? declared : null
    const request = sharing && sharedRequest(c.req.url, sharing)
    if (!publicPages || !request) return next()
    try {
      const page = await pageFrom(c, publicPages, request)
      c.set('sharing', sharing)
      return page
    } catch (error) {
      if (error instanceof BanyanError) throw error
      log.warn('page.not-handed-over', { reason: messageOf(error) })
    }
    return next()
  })

/** A reader without anything that could change the answer: no token, and no cookie of ours, valid or not. */
function isVisitor(c: Context<WebEnv>): boolean {
  const hasToken = c.req.header('authorization') !== undefined || c.req.header('x-causal-token') !== undefined
  return isRead(c) && !hasToken && !hasOwnCookie(c)
}

const isRead = (c: Context<WebEnv>): boolean => c.req.method === 'GET' || c.req.method === 'HEAD'

/** The sharing that the answering route declares in its first handler. The first route that matches answers. */
function sharingOf(c: Context<WebEnv>): Sharing | null {
  const first = matchedRoutes(c).find(({ method }) => method === 'GET')
  return (first && declaredSharing(first.handler)) ?? null
}

/** The page for this client. Throws the error that the client gets, or an Error if `PublicPages` has no answer. */
async function pageFrom(c: Context<WebEnv>, publicPages: PublicPages, request: Request): Promise<Response> {
  const { clock } = c.get('tiers')
  const tooLate = () => new Error(`PublicPages did not answer within ${limits.handOverMs} ms`)
  const answer = await inTime(clock, limits.handOverMs, publicPages.fetch(request), tooLate)
  const isPage = answer.status === 200 && answer.headers.get('cache-control')?.startsWith('public')
  if (!isPage) return throwSent(answer)
  if (c.req.method === 'HEAD') await answer.body?.cancel()
  const headers = new Headers()
  for (const name of pageHeaders) {
    const value = answer.headers.get(name)
    if (value !== null) headers.set(name, value)
  }
  headers.set('cache-status', `PublicPages; ${outcomes[answer.headers.get('cf-cache-status') ?? ''] ?? 'fwd=bypass'}`)
  return new Response(c.req.method === 'HEAD' ? null : answer.body, { headers })
}
