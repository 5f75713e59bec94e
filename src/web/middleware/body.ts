import { z } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { invalid } from '../api.ts'
import type { WebEnv } from '../context.ts'

const IMPORTS = '/operator/v1/imports'

const isApi = (path: string) => path.startsWith('/api/') || path.startsWith('/operator/')

const upTo = (maxSize: number) =>
  bodyLimit({
    maxSize,
    onError: () => {
      throw new BanyanError('BODY_TOO_LARGE', `A body may have ${maxSize} bytes.`)
    },
  })

/** Refuses a body that is too large before it is read whole. What operators import comes in larger ones. */
export const bodySize = () => {
  const [usual, ofImports] = [upTo(limits.bodyBytesMax), upTo(limits.importBodyBytesMax)]
  return createMiddleware<WebEnv>(async function bodySize(c, next) {
    return c.req.path.startsWith(IMPORTS) ? ofImports(c, next) : usual(c, next)
  })
}

/** Reads the body, and refuses an API's before any query: a wrong content type is 415, what isn't JSON 400. */
export const bodyText = () =>
  createMiddleware<WebEnv>(async function bodyText(c, next) {
    // As bytes: the runtime warns when a form's body is read as text.
    const text = isSafe(c.req.method)
      ? ''
      : new TextDecoder().decode(await c.get('tiers').received(c.req.arrayBuffer()))
    c.set('bodyText', text)
    if (isApi(c.req.path) && text !== '') requireJson(text, c.req.header('content-type') ?? '')
    await next()
  })

/** For a route that takes no body: fields that are sent all the same are refused, not overlooked. */
export const noBody = createMiddleware<WebEnv>(async function noBody(c, next) {
  const text = c.get('bodyText')
  const { error } = nothing.safeParse(text === '' ? {} : JSON.parse(text))
  if (error) throw invalid(error.issues)
  await next()
})

const nothing = z.strictObject({})

const isSafe = (method: string): boolean => method === 'GET' || method === 'HEAD'

function requireJson(text: string, contentType: string): void {
  if (!/^application\/(?:[a-z0-9.+-]+\+)?json$/i.test(contentType.split(';')[0]!.trim()))
    throw new BanyanError('WRONG_CONTENT_TYPE', 'Send application/json.')
  try {
    JSON.parse(text)
  } catch (error) {
    throw new BanyanError('MALFORMED_JSON', 'The body could not be read as JSON.', { cause: error })
  }
}
