import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import type { WebEnv } from '../context.ts'

/** Logs one line per request, and sets `server-timing` and `cache-status`. It logs the route, because a path may contain a token. */
export const accessLog = () =>
  createMiddleware<WebEnv>(async function accessLog(c, next) {
    const { clock, log, calls, cache } = c.get('tiers')
    const startedAt = clock.now()
    await next()
    const ms = clock.now() - startedAt
    const { d1, kv, directory } = calls
    const counts = `d1;desc="${d1}", kv;desc="${kv}", directory;desc="${directory}"`
    c.res.headers.set('server-timing', `total;dur=${ms}, ${counts}`)
    const reads = cache.status()
    if (reads !== null) c.res.headers.set('cache-status', reads)
    log.info('request', { method: c.req.method, route: routeOf(c), status: c.res.status, ms, d1, kv, directory })
  })

/** The pattern of the route that answered. Middleware has the pattern of every path. */
const routeOf = (c: Context<WebEnv>): string => matchedRoutes(c).findLast(({ path }) => path !== '/*')?.path ?? 'none'
