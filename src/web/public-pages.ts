import { BanyanError, catalogue, type ErrorCode, type FieldError } from '../core/errors.ts'
import type { Sharing } from './sharing.ts'

/** No page can depend on the host, because the cache's key has none. */
const ORIGIN = 'https://public-pages.invalid'

/** Visitors do not share addresses with longer queries. */
const QUERY_CHARACTERS_MAX = 200

/** An error is sent as data. The default entrypoint renders it, because it has the request's id and Accept header. */
const ERROR_TYPE = 'application/x-banyan-error+json'

/** The headers of a page that are kept. Others belong to the request that filled the cache. */
const pageHeaders = ['content-type', 'cache-control', 'cache-tag', 'vary', 'etag', 'content-disposition']

/**
 * The request that all visitors of a page share: its path, and the query parameters that it reads, in one order. It has
 * no header of the client. Null if the address is too long to be shared.
 */
export function sharedRequest(url: string, { query }: Sharing): Request | null {
  const { pathname, searchParams } = new URL(url)
  const read = query.flatMap((name) => {
    const value = searchParams.get(name)
    return value === null ? [] : [[name, value]]
  })
  const search = new URLSearchParams(read).toString()
  if (search.length > QUERY_CHARACTERS_MAX) return null
  return new Request(`${ORIGIN}${pathname}${search && `?${search}`}`, { redirect: 'manual' })
}

interface SentError {
  code: ErrorCode
  detail?: string
  hint?: string
  errors?: FieldError[]
  retryAfterSeconds?: number
}

/** The error as an answer of `PublicPages`. Its status tells the cache whether it may serve a stale page instead. */
export function sendError(error: BanyanError): Response {
  const { code, hasOwnDetail, message, hint, errors, retryAfterSeconds } = error
  const sent: SentError = {
    code,
    ...(hasOwnDetail ? { detail: message } : {}),
    ...(hint === undefined ? {} : { hint }),
    ...(errors === undefined ? {} : { errors }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  }
  const headers = { 'content-type': ERROR_TYPE, 'cache-control': 'no-store' }
  return new Response(JSON.stringify(sent), { status: error.status, headers })
}

/** Throws the error that `PublicPages` answered with, or an Error for an answer that is not one of its own. */
export async function throwSent(answer: Response): Promise<never> {
  if (answer.headers.get('content-type') !== ERROR_TYPE) {
    await answer.body?.cancel()
    throw new Error(`PublicPages answered ${answer.status} without a page`)
  }
  const { code, detail, ...options } = (await answer.json()) as SentError
  if (!Object.hasOwn(catalogue, code)) throw new Error(`PublicPages answered with the unknown code ${code}`)
  throw new BanyanError(code, detail, options)
}

/** What the cache may keep of an answer. */
export function keptPage(answer: Response): Response {
  const kept = pageHeaders.flatMap((name) => {
    const value = answer.headers.get(name)
    return value === null || value === '' ? [] : [[name, value] as [string, string]]
  })
  return new Response(answer.body, { status: answer.status, headers: kept })
}
