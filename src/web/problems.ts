import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { BanyanError, type ErrorCode } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { isLocalHost } from './api.ts'
import type { WebEnv } from './context.ts'

/** What was thrown, as a `BanyanError`. Anything else is a bug: the log has the reason, the caller gets INTERNAL. */
export function toBanyanError(error: unknown, log: Log): BanyanError {
  if (error instanceof BanyanError) {
    if (error.status >= 500)
      log.error('request.failed', { code: error.code, reason: error.advice, stack: stackOf(error.cause) })
    return error
  }
  // From the routes' validators: an empty body with a JSON content type, or with one that no route accepts.
  if (error instanceof HTTPException && error.status === 400)
    return new BanyanError('MALFORMED_JSON', 'The body could not be read as JSON. Send a JSON object.', {
      cause: error,
    })
  if (error instanceof HTTPException && error.status === 415)
    return new BanyanError('WRONG_CONTENT_TYPE', 'The API accepts JSON only. Send application/json.', { cause: error })
  log.error('request.bug', { reason: String(error), stack: stackOf(error) })
  return new BanyanError('INTERNAL', undefined, { cause: error })
}

/** Codes whose detail is for operators or is the database's text. Callers get the title and what they can do. */
const internal: ErrorCode[] = [
  'DATABASE_CONSTRAINT',
  'DATABASE_ERROR',
  'DIRECTORY_UNAVAILABLE',
  'INTERNAL',
  'SHARD_FOREIGN',
  'SHARD_READ_ONLY',
  'SHARD_RESTORING',
  'SHARD_UNAVAILABLE',
]

/** Codes whose detail tells a builder what to set up. On localhost, the caller is the builder. */
const internalUnlessLocal: ErrorCode[] = ['MIGRATIONS_PENDING', 'SETTING_MISSING', 'SHARD_UNKNOWN']

/** What the caller at this address may read. Operators read everything. */
export function publicDetail(error: BanyanError, url: string): string {
  const { pathname, hostname } = new URL(url)
  if (pathname.startsWith('/operator/')) return error.advice
  if (internalUnlessLocal.includes(error.code)) return isLocalHost(hostname) ? error.advice : error.publicAdvice
  return internal.includes(error.code) || !error.hasOwnDetail ? error.publicAdvice : error.advice
}

/** RFC 9457. */
export function problemResponse(c: Context<WebEnv>, error: BanyanError): Response {
  const body = {
    type: `/problems/${error.code.toLowerCase().replaceAll('_', '-')}`,
    title: error.title,
    status: error.status,
    detail: publicDetail(error, c.req.url),
    code: error.code,
    requestId: c.get('requestId'),
    ...(error.errors ? { errors: error.errors } : {}),
  }
  const headers = new Headers({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
  retryAfter(error, headers)
  if (error.status === 401) headers.set('www-authenticate', 'Bearer')
  return c.body(JSON.stringify(body), error.status, Object.fromEntries(headers))
}

/** 429 and 503 always have Retry-After (5 s by default). Other statuses have it if the error gives a time. */
export function retryAfter(error: BanyanError, headers: Headers): void {
  const isForLater = error.status === 503 || error.status === 429
  const seconds = error.retryAfterSeconds ?? (isForLater ? 5 : null)
  if (seconds !== null) headers.set('retry-after', String(seconds))
}

const stackOf = (error: unknown): string | undefined => (error instanceof Error ? error.stack : undefined)
