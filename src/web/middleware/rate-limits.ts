import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { sha256Hex } from '../../core/digest.ts'
import { BanyanError, hasCode } from '../../core/errors.ts'
import type { RateLimitName, WebEnv } from '../context.ts'
import { isOperator } from './operator-only.ts'

const PERIOD_SECONDS = 60

/** An IPv4 address, or the first 64 bits of an IPv6 address, because its holder chooses the rest. */
export function addressKey(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const before = head.split(':').filter((group) => group !== '')
  const after = (tail ?? '').split(':').filter((group) => group !== '')
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
  const groups = [...before, ...zeros, ...after].slice(0, 4).map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''))
  return `${groups.join(':')}::/64`
}

const address = (c: Context<WebEnv>): string => addressKey(c.req.header('cf-connecting-ip') ?? 'local')

/** Limits all requests, and writes separately, by client address. Operators import in many requests: no limit. */
export const rateLimits = () =>
  createMiddleware<WebEnv>(async function rateLimits(c, next) {
    if (isOperator(c)) return next()
    await refuseBeyond(c, 'requests', address(c))
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') await refuseBeyond(c, 'writes', address(c))
    await next()
  })

/** Limits guessing by client address, and by login from all addresses together. */
export async function limitCredentials(c: Context<WebEnv>, login: string, purpose = 'login'): Promise<void> {
  await refuseBeyond(c, 'credentials', `address:${address(c)}`)
  await refuseBeyond(c, 'credentials', `${purpose}:${sha256Hex(login.trim().toLowerCase())}`)
}

/** Limits searches by client address, because each may ask all shards. Operators have no limit. @public For nouns. */
export async function limitSearches(c: Context<WebEnv>): Promise<void> {
  if (!isOperator(c)) await refuseBeyond(c, 'search', address(c))
}

/** Runs work that may refuse an attempt with a wait, and sets Retry-After also if a form shows the error on its page. */
export async function announceRetry<T>(c: Context<WebEnv>, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, 'RATE_LIMITED')) c.header('retry-after', String(error.retryAfterSeconds ?? PERIOD_SECONDS))
    throw error
  }
}

async function refuseBeyond(c: Context<WebEnv>, name: RateLimitName, key: string): Promise<void> {
  if (await c.get('tiers').withinLimit(name, key)) return
  c.header('retry-after', String(PERIOD_SECONDS)) // also if a form shows the error on its page
  throw new BanyanError('RATE_LIMITED', `Too many requests. Try again in ${PERIOD_SECONDS} seconds.`, {
    retryAfterSeconds: PERIOD_SECONDS,
  })
}
