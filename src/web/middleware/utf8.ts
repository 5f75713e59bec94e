import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'
import { ownCookies } from '../cookies.ts'
import { hasUtf8Escapes, malformedUtf8 } from '../utf8.ts'

/** Every header that the web tier reads. Other headers may have any bytes, because nothing depends on them. */
export const headersRead = [
  'accept',
  'authorization',
  'cf-connecting-ip',
  'content-type',
  'cookie',
  'idempotency-key',
  'if-none-match',
  'origin',
  'sec-fetch-site',
  'user-agent',
  'x-causal-token',
]

/** The runtime decodes headers as UTF-8 and puts this in place of other bytes. No client has a reason to send it. */
const REPLACEMENT = '\ufffd'

/** Refuses a header, or a percent-encoded cookie of Banyan, that is not UTF-8, before any header is compared. */
export const utf8Headers = () =>
  createMiddleware<WebEnv>(async function utf8Headers(c, next) {
    const wrong = headersRead.find((name) => c.req.header(name)?.includes(REPLACEMENT))
    if (wrong) throw malformedUtf8(`The header ${wrong}`)
    if (!ownCookies(c).every(hasUtf8Escapes)) throw malformedUtf8('The header cookie')
    await next()
  })

/** Refuses a path or a query with percent-encoded bytes that are not UTF-8. The runtime refuses unescaped ones. */
export const utf8Address = () =>
  createMiddleware<WebEnv>(async function utf8Address(c, next) {
    if (!hasUtf8Escapes(c.req.url)) throw malformedUtf8('The address')
    await next()
  })
