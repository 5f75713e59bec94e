import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { sha256Hex } from '../../core/digest.ts'
import { BanyanError } from '../../core/errors.ts'
import type { RateLimitName, WebEnv } from '../context.ts'

const PERIOD_SECONDS = 60

const address = (c: Context<WebEnv>): string => c.req.header('cf-connecting-ip') ?? 'local'

/** Limits by client address: all requests, and writes apart. */
export const rateLimits = () =>
  createMiddleware<WebEnv>(async function rateLimits(c, next) {
    await refuseBeyond(c, 'requests', address(c))
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') await refuseBeyond(c, 'writes', address(c))
    await next()
  })

/** Limits guessing: by address, and by the login that is tried, wherever from. */
export async function limitCredentials(c: Context<WebEnv>, login: string): Promise<void> {
  await refuseBeyond(c, 'credentials', `address:${address(c)}`)
  await refuseBeyond(c, 'credentials', `login:${sha256Hex(login.trim().toLowerCase())}`)
}

async function refuseBeyond(c: Context<WebEnv>, name: RateLimitName, key: string): Promise<void> {
  if (await c.get('tiers').withinLimit(name, key)) return
  throw new BanyanError('RATE_LIMITED', `Too many requests. Try again in ${PERIOD_SECONDS} seconds.`, {
    retryAfterSeconds: PERIOD_SECONDS,
  })
}
