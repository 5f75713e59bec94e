import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'

/** Gives every answer an `x-request-id`, never the client's, and `server-timing`, even if no calls were counted. */
export const requestId = () =>
  createMiddleware<WebEnv>(async function requestId(c, next) {
    const id = crypto.randomUUID()
    c.set('requestId', id)
    await next()
    c.res.headers.set('x-request-id', id)
    if (!c.res.headers.has('server-timing')) c.res.headers.set('server-timing', 'total')
  })
