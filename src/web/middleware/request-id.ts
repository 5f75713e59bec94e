import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'

/** Every answer has an `x-request-id`: drawn here, never taken from the client. */
export const requestId = () =>
  createMiddleware<WebEnv>(async function requestId(c, next) {
    const id = crypto.randomUUID()
    c.set('requestId', id)
    await next()
    c.res.headers.set('x-request-id', id)
  })
