import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'

/** Every answer has an `x-request-id`: drawn here, never taken from the client. And `server-timing`, also where none was counted. */
export const requestId = () =>
  createMiddleware<WebEnv>(async function requestId(c, next) {
    const id = crypto.randomUUID()
    c.set('requestId', id)
    await next()
    c.res.headers.set('x-request-id', id)
    if (!c.res.headers.has('server-timing')) c.res.headers.set('server-timing', 'total')
  })
