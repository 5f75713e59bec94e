import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { BanyanError, hasCode } from '../../core/errors.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { WebEnv } from '../context.ts'
import { clearSessionCookies, readCookie, writeCookie } from '../cookies.ts'
import { markPersonal } from './cache-control.ts'

/** The token of `Authorization: Bearer`, or null. With any other scheme, the cookie counts. */
export function bearerToken(c: Context<WebEnv>): string | null {
  const token = /^Bearer ([^\s]+)$/i.exec(c.req.header('authorization') ?? '')?.[1] ?? null
  if (token) markPersonal(c)
  return token
}

/** Gives routes `session()`, which authenticates on the first call only. */
export const session = () =>
  createMiddleware<WebEnv>(async function session(c, next) {
    let asked: Promise<Session | null> | null = null
    c.set('session', () => {
      asked ??= authenticate(c)
      return asked
    })
    await next()
    if (hasCode(c.error, 'SESSION_ENDED') && !bearerToken(c)) clearDeadCookies(c)
  })

/** The session of a route that needs one. Throws NOT_SIGNED_IN. */
export async function requireSession(c: Context<WebEnv>): Promise<Session> {
  const session = await c.get('session')()
  if (!session) throw new BanyanError('NOT_SIGNED_IN')
  return session
}

async function authenticate(c: Context<WebEnv>): Promise<Session | null> {
  const bearer = bearerToken(c)
  const token = bearer ?? readCookie(c, 'session')
  if (!token) return null
  const { session, stamp, ended } = await c.get('tiers').sessions.authenticate(token, readCookie(c, 'stamp'))
  if (!bearer && stamp) writeCookie(c, 'stamp', stamp)
  if (!bearer && ended) clearDeadCookies(c)
  return session
}

/**
 * Clears the cookies of an ended session, but only in answers to reads. A form or an autosave may overlap with the
 * rotation of the session, and its late answer would delete the new cookies. The next page load clears dead ones.
 */
function clearDeadCookies(c: Context<WebEnv>): void {
  if (c.req.method === 'GET' || c.req.method === 'HEAD') clearSessionCookies(c)
}
