import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { limits } from '../core/limits.ts'
import type { WebEnv } from './context.ts'
import { markPersonal } from './middleware/cache-control.ts'

/** `__Host-` requires Secure, this host only and the path `/` (RFC 6265bis §4.1.3). */
const options = { prefix: 'host', secure: true, path: '/', httpOnly: true, sameSite: 'Lax' } as const
const DAY_SECONDS = 86_400

const OWN_COOKIE = /(?:^|;)[ \t]*__Host-(?:session|stamp|causal)=([^;]*)/g

type Name = 'session' | 'stamp' | 'causal'

const maxAgeSeconds: Record<Name, number> = {
  session: limits.sessionAbsoluteDays * DAY_SECONDS,
  stamp: limits.sessionStampMs / 1_000,
  causal: limits.causalTokenMs / 1_000,
}

/** True for a request that may have a cookie of ours, in any form. */
export const hasOwnCookie = (c: Context<WebEnv>): boolean =>
  /__Host-(?:session|stamp|causal)/.test(c.req.header('cookie') ?? '')

/**
 * The cookie's value, or null. Once a route has looked for one of our cookies, its answer to a request that has any of
 * them is personal (INV-8), even if the cookie is another one or not valid.
 */
export function readCookie(c: Context<WebEnv>, name: Name): string | null {
  if (hasOwnCookie(c)) markPersonal(c)
  return getCookie(c, name, 'host') ?? null
}

/** The raw values of Banyan's own cookies. Other applications of the host may use any bytes in theirs. */
export const ownCookies = (c: Context<WebEnv>): string[] =>
  [...(c.req.header('cookie') ?? '').matchAll(OWN_COOKIE)].map(([, value = '']) => value)

/** True for a request with a causal token, as a cookie or as a header. */
export const hasCausalToken = (c: Context<WebEnv>): boolean =>
  c.req.header('x-causal-token') !== undefined || readCookie(c, 'causal') !== null

export const writeCookie = (c: Context<WebEnv>, name: Name, value: string): void =>
  setCookie(c, name, value, { ...options, maxAge: maxAgeSeconds[name] })

export function clearSessionCookies(c: Context<WebEnv>): void {
  for (const name of ['session', 'stamp'] as const) deleteCookie(c, name, options)
}

/** Sets the browser's two cookies after a sign-up or log-in. */
export function writeSessionCookies(
  c: Context<WebEnv>,
  { token, stamp }: { token: string; stamp: string | null },
): void {
  writeCookie(c, 'session', token)
  if (stamp) writeCookie(c, 'stamp', stamp)
}
