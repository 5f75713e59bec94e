import { createMiddleware } from 'hono/factory'
import { advanced, formatCausalToken } from '../causal-token.ts'
import type { WebEnv } from '../context.ts'
import { writeCookie } from '../cookies.ts'
import { bearerToken } from './session.ts'

/** After a write, sends the token with which the client reads its own writes on any isolate. */
export const causalToken = () =>
  createMiddleware<WebEnv>(async function causalToken(c, next) {
    await next()
    const { settings, clock, shards, client, writtenSlots, hasWritten } = c.get('tiers')
    // The epoch that this request wrote with, or a newer one. An acknowledged write does not wait for another map.
    const { epoch } = shards
    if (epoch === null || !hasWritten()) return
    // A refused log-in has counted an attempt, in the slot of its account or of an unknown login. It must not tell which.
    if (c.res.status === 401 || c.res.status === 429) return
    const token = formatCausalToken(settings.signingKey, advanced(client, epoch, writtenSlots), clock.now())
    c.res.headers.set('x-causal-token', token)
    if (!bearerToken(c)) writeCookie(c, 'causal', token)
  })
