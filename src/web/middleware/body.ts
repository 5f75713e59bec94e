import { z } from '@hono/zod-openapi'
import type { Context, Handler, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import { BanyanError, type ErrorCode } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { invalid } from '../api.ts'
import type { WebEnv } from '../context.ts'
import { parseMultipart } from '../multipart.ts'
import { hasUtf8Escapes, malformedUtf8, utf8Text } from '../utf8.ts'

const IMPORTS = '/operator/v1/imports'

/** A mail service sends the same body to each of these, which the address alone explains (RFC 8058 §3.2). */
const isOneClick = (path: string, contentType: string) =>
  path.startsWith('/unsubscribe/') && /^multipart\/form-data$/i.test(mediaType(contentType))

const isApi = (path: string) => path.startsWith('/api/') || path.startsWith('/operator/')

const upTo = (maxSize: number, code: ErrorCode = 'BODY_TOO_LARGE') =>
  bodyLimit({
    maxSize,
    onError: () => {
      throw new BanyanError(code, `The body is larger than ${maxSize} bytes. Send a smaller one.`)
    },
  })

/** A body that a route accepts instead of a small text. */
interface LargeBody {
  kind: 'bytes' | 'form'
  limit: MiddlewareHandler
}

/** The large body of a route, by the middleware that declares it. */
const declared = new WeakMap<Handler | MiddlewareHandler, LargeBody>()

function declare(kind: LargeBody['kind'], bytesMax: number, code?: ErrorCode): MiddlewareHandler<WebEnv> {
  const middleware = createMiddleware<WebEnv>(async function largeBody(_, next) {
    await next()
  })
  declared.set(middleware, { kind, limit: upTo(bytesMax, code) })
  return middleware
}

/**
 * For a route whose body is one file, of any content type: `c.get('bodyBytes')`. `code` refuses a larger one.
 * @public For nouns.
 */
export const bytesBody = (bytesMax: number, code: ErrorCode): MiddlewareHandler<WebEnv> =>
  declare('bytes', bytesMax, code)

/** For a page whose form may have files, as multipart/form-data: `c.get('files')`. @public For nouns. */
export const formWithFiles = (bytesMax: number): MiddlewareHandler<WebEnv> => declare('form', bytesMax)

const largeBodyOf = (c: Context<WebEnv>): LargeBody | undefined =>
  matchedRoutes(c)
    .filter(({ method }) => method === c.req.method)
    .map(({ handler }) => declared.get(handler))
    .find((found) => found !== undefined)

/** Refuses a body over the limit before all of it is read. Imports and files have higher limits. */
export const bodySize = () => {
  const [usual, ofImports] = [upTo(limits.bodyBytesMax), upTo(limits.importBodyBytesMax)]
  return createMiddleware<WebEnv>(async function bodySize(c, next) {
    const large = largeBodyOf(c)
    const hasFile = large?.kind === 'bytes' || isMultipart(c.req.header('content-type') ?? '')
    if (large && hasFile) return large.limit(c, next)
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
    const type = c.req.header('content-type') ?? ''
    const large = largeBodyOf(c)
    const read = isApi(c.req.path) ? readJsonText : readFormText
    if (bytes && large?.kind === 'bytes') await keepBytes(c, bytes)
    else if (bytes && large && isMultipart(type)) await keepForm(c, bytes, type)
    else c.set('bodyText', bytes?.byteLength && !isOneClick(c.req.path, type) ? read(bytes, type) : '')
    await next()
  })

/** The text is the digest, so that an Idempotency-Key stands for these bytes. */
async function keepBytes(c: Context<WebEnv>, bytes: ArrayBuffer): Promise<void> {
  c.set('bodyBytes', new Uint8Array(bytes))
  c.set('bodyText', await digestOf(bytes))
}

/** The text is the form without its files, and their digests. */
async function keepForm(c: Context<WebEnv>, bytes: ArrayBuffer, type: string): Promise<void> {
  const form = parseMultipart(bytes, type)
  if (!form) throw new BanyanError('WRONG_CONTENT_TYPE', 'The form is not well-formed multipart/form-data.')
  const text = new URLSearchParams()
  for (const [name, value] of form.fields) {
    const decoded = utf8Text(value)
    if (decoded === null) throw malformedUtf8('The form')
    text.append(name, decoded)
  }
  for (const file of form.files) text.append(`${file.field}:sha256`, await digestOf(file.bytes))
  c.set('files', form.files)
  c.set('bodyText', text.toString())
}

const digestOf = async (bytes: ArrayBuffer | Uint8Array): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')

const isMultipart = (type: string): boolean => /^multipart\/form-data$/i.test(mediaType(type))

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
