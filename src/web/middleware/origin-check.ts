import { createMiddleware } from 'hono/factory'
import { BanyanError } from '../../core/errors.ts'
import type { WebEnv } from '../context.ts'
import { bearerToken } from './session.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses requests that another site makes a browser send. Browsers name the origin of every POST, so a request with a
 * cookie and no origin is refused, too. Browsers never send a Bearer token unasked, so those requests pass.
 */
export const originCheck = () =>
  createMiddleware<WebEnv>(async function originCheck(c, next) {
    if (!SAFE.has(c.req.method) && !bearerToken(c) && !isOwn(c.req.raw)) throw new BanyanError('WRONG_ORIGIN')
    await next()
  })

function isOwn(request: Request): boolean {
  const origin = request.headers.get('origin')
  if (origin !== null) return URL.canParse(origin) && new URL(origin).host === new URL(request.url).host
  const site = request.headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin' || site === 'none'
  return !request.headers.has('cookie')
}
