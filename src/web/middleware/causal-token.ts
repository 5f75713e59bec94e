import { createMiddleware } from 'hono/factory'
import { advanced, formatCausalToken } from '../causal-token.ts'
import type { WebEnv } from '../context.ts'
import { hasCausalToken, writeCookie } from '../cookies.ts'
import { markPersonal } from './cache-control.ts'
import { bearerToken } from './session.ts'

/**
 * After a write, sends the token with which the client reads its own writes on any isolate. The answer to a request
 * with a token depends on it, because the tiers were opened with its epoch. A file depends on no shard.
 */
export const causalToken = () =>
  createMiddleware<WebEnv>(async function causalToken(c, next) {
    await next()
    if (!c.get('sharing')?.isFile && hasCausalToken(c)) markPersonal(c)
    const { settings, clock, shards, client, writtenSlots, writtenBookmarks, hasWritten } = c.get('tiers')
    // The epoch that this request wrote with, or a newer one. An acknowledged write does not wait for another map.
    const { epoch } = shards
    if (epoch === null || !hasWritten()) return
    // A refused log-in has counted an attempt, in the slot of its account or of an unknown login. Its answer must not
    // tell which.
    if (c.res.status === 401 || c.res.status === 429) return
    const written = { epoch, slots: writtenSlots, bookmarks: writtenBookmarks }
    const token = formatCausalToken(settings.signingKey, advanced(client, written), clock.now())
    c.res.headers.set('x-causal-token', token)
    if (!bearerToken(c)) writeCookie(c, 'causal', token)
  })
