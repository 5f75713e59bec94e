import { createMiddleware } from 'hono/factory'
import { formatCausalToken } from '../causal-token.ts'
import type { WebEnv } from '../context.ts'
import { writeCookie } from '../cookies.ts'
import { bearerToken } from './session.ts'

/** After a request that wrote: the token with which its client reads its own writes, on any isolate. */
export const causalToken = () =>
  createMiddleware<WebEnv>(async function causalToken(c, next) {
    await next()
    const { settings, clock, shards, hasWritten } = c.get('tiers')
    // The epoch by which this request wrote, or a newer one: a write that is acknowledged waits for no other map.
    const { epoch } = shards
    if (epoch === null || !hasWritten()) return
    const token = formatCausalToken(settings.signingKey, { epoch }, clock.now())
    c.res.headers.set('x-causal-token', token)
    if (!bearerToken(c)) writeCookie(c, 'causal', token)
  })
