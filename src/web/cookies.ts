import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { limits } from '../core/limits.ts'
import type { WebEnv } from './context.ts'

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

export const readCookie = (c: Context<WebEnv>, name: Name): string | null => getCookie(c, name, 'host') ?? null

/** The raw values of Banyan's own cookies. Other applications of the host may use any bytes in theirs. */
export const ownCookies = (c: Context<WebEnv>): string[] =>
  [...(c.req.header('cookie') ?? '').matchAll(OWN_COOKIE)].map(([, value = '']) => value)

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
