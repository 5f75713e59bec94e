import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import type { WebEnv } from '../context.ts'

/**
 * Logs one line per request, or per page that the shared cache asked for, and sets `server-timing` and
 * `cache-status`. It logs the route, because a path may contain a token.
 */
export const accessLog = (event: 'request' | 'page.rendered' = 'request') =>
  createMiddleware<WebEnv>(async function accessLog(c, next) {
    const { clock, log, calls, cache } = c.get('tiers')
    const startedAt = clock.now()
    await next()
    const ms = clock.now() - startedAt
    const { d1, kv, directory } = calls
    const counts = `d1;desc="${d1}", kv;desc="${kv}", directory;desc="${directory}"`
    c.res.headers.set('server-timing', `total;dur=${ms}, ${counts}`)
    const reads = cache.status()
    if (reads !== null) c.res.headers.append('cache-status', reads)
    const line = { method: c.req.method, route: routeOf(c), status: c.res.status, ms, d1, kv, directory }
    if (event === 'request') log.info('request', line)
    else log.info('page.rendered', line)
  })

/** The pattern of the route that answered. Middleware has the pattern of every path. */
const routeOf = (c: Context<WebEnv>): string => matchedRoutes(c).findLast(({ path }) => path !== '/*')?.path ?? 'none'
