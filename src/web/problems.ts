import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { BanyanError, type ErrorCode } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { isLocalHost } from './api.ts'
import type { WebEnv } from './context.ts'

/** What went wrong, as a `BanyanError`: anything else that was thrown is a bug, and says so without saying what. */
export function toBanyanError(error: unknown, log: Log): BanyanError {
  if (error instanceof BanyanError) {
    if (error.status >= 500)
      log.error('request.failed', { code: error.code, reason: error.advice, stack: stackOf(error.cause) })
    return error
  }
  // The routes' validators: an empty body that is announced as JSON, or as what no route takes.
  if (error instanceof HTTPException && error.status === 400)
    return new BanyanError('MALFORMED_JSON', 'The body could not be read as JSON.', { cause: error })
  if (error instanceof HTTPException && error.status === 415)
    return new BanyanError('WRONG_CONTENT_TYPE', 'Send application/json.', { cause: error })
  log.error('request.bug', { reason: String(error), stack: stackOf(error) })
  return new BanyanError('INTERNAL', 'The fault is ours and is recorded under the request id.', { cause: error })
}

/** Codes whose detail was written for operators or by the database: callers get the title only. */
const internal: ErrorCode[] = [
  'DATABASE_CONSTRAINT',
  'DATABASE_ERROR',
  'DIRECTORY_UNAVAILABLE',
  'SHARD_FOREIGN',
  'SHARD_READ_ONLY',
  'SHARD_RESTORING',
  'SHARD_UNAVAILABLE',
]

/** Those whose detail tells a builder what to set up: on localhost she is the caller. */
const internalUnlessLocal: ErrorCode[] = ['MIGRATIONS_PENDING', 'SETTING_MISSING', 'SHARD_UNKNOWN']

/** Operators see all of it. */
export function publicDetail(error: BanyanError, url: string): string {
  const { pathname, hostname } = new URL(url)
  const isHidden = internal.includes(error.code) || (internalUnlessLocal.includes(error.code) && !isLocalHost(hostname))
  return isHidden && !pathname.startsWith('/operator/') ? `${error.title}.` : error.advice
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

/** 429 and 503 always say when to come back; others where it is known. */
export function retryAfter(error: BanyanError, headers: Headers): void {
  const isForLater = error.status === 503 || error.status === 429
  const seconds = error.retryAfterSeconds ?? (isForLater ? 5 : null)
  if (seconds !== null) headers.set('retry-after', String(seconds))
}

const stackOf = (error: unknown): string | undefined => (error instanceof Error ? error.stack : undefined)
