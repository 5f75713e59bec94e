import { z } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { invalid } from '../api.ts'
import type { WebEnv } from '../context.ts'
import { hasUtf8Escapes, malformedUtf8, utf8Text } from '../utf8.ts'

const IMPORTS = '/operator/v1/imports'

/** A mail service sends the same body to each of these, which the address alone explains (RFC 8058 §3.2). */
const isOneClick = (path: string, contentType: string) =>
  path.startsWith('/unsubscribe/') && /^multipart\/form-data$/i.test(mediaType(contentType))

const isApi = (path: string) => path.startsWith('/api/') || path.startsWith('/operator/')

const upTo = (maxSize: number) =>
  bodyLimit({
    maxSize,
    onError: () => {
      throw new BanyanError('BODY_TOO_LARGE', `The body is larger than ${maxSize} bytes. Send a smaller one.`)
    },
  })

/** Refuses a body over the limit before all of it is read. Imports have a higher limit. */
export const bodySize = () => {
  const [usual, ofImports] = [upTo(limits.bodyBytesMax), upTo(limits.importBodyBytesMax)]
  return createMiddleware<WebEnv>(async function bodySize(c, next) {
    return c.req.path.startsWith(IMPORTS) ? ofImports(c, next) : usual(c, next)
  })
}

/**
 * Reads the body before any query. Refuses a wrong content type with 415, and bytes that are not UTF-8 or not JSON with
 * 400. Pages accept forms, and the API accepts JSON.
 */
export const bodyText = () =>
  createMiddleware<WebEnv>(async function bodyText(c, next) {
    // Read as bytes, because the runtime's text() replaces bytes that are not UTF-8 and drops a byte order mark.
    const bytes = isSafe(c.req.method) ? null : await c.get('tiers').received(c.req.arrayBuffer())
    const read = isApi(c.req.path) ? readJsonText : readFormText
    const contentType = c.req.header('content-type') ?? ''
    c.set('bodyText', bytes?.byteLength && !isOneClick(c.req.path, contentType) ? read(bytes, contentType) : '')
    await next()
  })

/** For a route without a body. Refuses fields instead of ignoring them. */
export const noBody = createMiddleware<WebEnv>(async function noBody(c, next) {
  const text = c.get('bodyText')
  const { error } = nothing.safeParse(text === '' ? {} : JSON.parse(text))
  if (error) throw invalid(error.issues)
  await next()
})

const nothing = z.strictObject({})

const isSafe = (method: string): boolean => method === 'GET' || method === 'HEAD'

function mediaType(contentType: string): string {
  const [type = ''] = contentType.split(';')
  return type.trim()
}

/** JSON is UTF-8, and a receiver may refuse a byte order mark (RFC 8259 §8.1), as `JSON.parse` does. */
function readJsonText(bytes: ArrayBuffer, contentType: string): string {
  if (!/^application\/(?:[a-z0-9.+-]+\+)?json$/i.test(mediaType(contentType)))
    throw new BanyanError('WRONG_CONTENT_TYPE', 'The API accepts JSON only. Send application/json.')
  const text = utf8Text(bytes)
  if (text === null) throw new BanyanError('MALFORMED_JSON', 'The body is not UTF-8. JSON must be UTF-8 (RFC 8259).')
  try {
    JSON.parse(text)
  } catch (error) {
    throw new BanyanError('MALFORMED_JSON', 'The body could not be read as JSON. Send a JSON object.', { cause: error })
  }
  return text
}

function readFormText(bytes: ArrayBuffer, contentType: string): string {
  if (!/^application\/x-www-form-urlencoded$/i.test(mediaType(contentType)))
    throw new BanyanError(
      'WRONG_CONTENT_TYPE',
      'This page accepts forms only. Send application/x-www-form-urlencoded, or use the API.',
    )
  const text = utf8Text(bytes)
  if (text === null || !hasUtf8Escapes(text)) throw malformedUtf8('The form')
  return text
}
