import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError, type FieldError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import type { SortKey } from '../sharding/sort-keys.ts'
import type { WebEnv } from './context.ts'

export const problemShape = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    requestId: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .openapi('Problem')

/** A router whose schemas check bodies and queries, and generate the OpenAPI document. */
export const createApi = (): OpenAPIHono<WebEnv> =>
  new OpenAPIHono<WebEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalid(result.error.issues, result.target)
    },
  })

interface Issue {
  code?: string | undefined
  path: PropertyKey[]
  message: string
  keys?: string[] | undefined
}

/** INVALID with a pointer per field, or NOT_FOUND if the path is malformed. */
export function invalid(issues: readonly Issue[], target = 'json'): BanyanError {
  if (target === 'param') return new BanyanError('NOT_FOUND', 'There is nothing at this path. Check the address.')
  const errors: FieldError[] = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' && issue.keys
      ? issue.keys.map((key) => ({
          pointer: pointerTo([...issue.path, key]),
          detail: 'This field is unknown. Remove it.',
        }))
      : [{ pointer: pointerTo(issue.path), detail: issue.message }],
  )
  return new BanyanError('INVALID', errors.map(({ pointer, detail }) => `${pointer}: ${detail}`).join(' '), { errors })
}

const pointerTo = (path: PropertyKey[]): string =>
  path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

const problemContent = { 'application/problem+json': { schema: problemShape } }

type Problems<S extends number> = { [K in S]: { description: string; content: typeof problemContent } }

const documented = <S extends number>(statuses: readonly S[]) =>
  Object.fromEntries(
    statuses.map((status) => [status, { description: 'A problem', content: problemContent }]),
  ) as Problems<S>

/** Well-formed text. A lone surrogate (half a character) would be stored as another character. */
export const wholeText = z
  .string()
  .refine((text) => text.isWellFormed(), 'The text contains half a character (a lone surrogate). Remove it.')

/** The problems that a reading route documents: its own, and those of every route. */
export const problems = <const S extends number>(...own: S[]) => documented([...own, ...([400, 429, 503] as const)])

/** The problems of a writing route, which can also refuse its input or find its database full. */
export const writeProblems = <const S extends number>(...own: S[]) =>
  documented([...own, ...([400, 403, 413, 415, 422, 429, 503, 507] as const)])

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

export const jsonBody = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { 'application/json': { schema } },
})

export const signedIn = [{ session: [] }, { bearer: [] }] as { [name: string]: string[] }[]

/** A whole number in a query, in the form that `Number` prints: no sign, space, hex, exponent or leading zero. */
const decimal = (min: number, max: number) =>
  z
    .string()
    .regex(/^(?:0|[1-9][0-9]*)$/, `Send a whole number from ${min} to ${max}, in decimal digits.`)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .openapi({ type: 'integer', minimum: min, maximum: max })

export const pageQuery = z.object({
  limit: decimal(1, limits.pageItemsMax).openapi({ default: limits.pageItemsDefault }).default(limits.pageItemsDefault),
  cursor: z.string().max(200).optional(),
})

export const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().nullable() })

/** An opaque cursor from the last row's sort key. */
export const formatCursor = (key: string): string => Buffer.from(key).toString('base64url')

/** The sort key of a cursor that `isKey` accepts. Throws INVALID for anything else. */
export function parseCursor(cursor: string | undefined, isKey: (key: string) => boolean): string | null {
  if (cursor === undefined || cursor === '') return null
  const key = Buffer.from(cursor, 'base64url').toString()
  if (isKey(key) && formatCursor(key) === cursor) return key
  const detail = 'This cursor is not from this list. Start without a cursor.'
  throw new BanyanError('INVALID', detail, { errors: [{ pointer: '/cursor', detail }] })
}

/** The cursor of a scatter's `next`. */
export const formatSortKey = (key: SortKey | null): string | null => key && formatCursor(JSON.stringify(key))

/** The sort key of a cursor whose values have these types. Throws INVALID for anything else. */
export function parseSortKey(cursor: string | undefined, types: readonly ('number' | 'string')[]): SortKey | null {
  const text = parseCursor(cursor, (key) => sortKeyIn(key, types) !== null)
  return text === null ? null : sortKeyIn(text, types)
}

function sortKeyIn(text: string, types: readonly ('number' | 'string')[]): SortKey | null {
  let key: unknown
  try {
    key = JSON.parse(text)
  } catch {
    return null // it is not a cursor
  }
  if (!Array.isArray(key) || key.length !== types.length) return null
  const isKey = types.every((type, index) => {
    const value: unknown = key[index]
    if (type === 'number') return Number.isSafeInteger(value)
    return typeof value === 'string' && value.isWellFormed()
  })
  return isKey ? key : null
}

/** The request's Idempotency-Key and contents, or null. Throws INVALID if the key is too long or not ASCII. */
export function retryKey(c: Context<WebEnv>): RetryKey | null {
  const key = c.req.header('idempotency-key')
  return key === undefined ? null : checkedRetryKey(c, key)
}

/** A key from a form's hidden field, with the request's contents. Throws INVALID as `retryKey` does. */
export function checkedRetryKey(c: Context<WebEnv>, key: string): RetryKey {
  if (key.length < 1 || key.length > limits.idempotencyKeyCharactersMax || !/^[\x20-\x7e]+$/.test(key)) {
    const detail = `An Idempotency-Key must have 1 to ${limits.idempotencyKeyCharactersMax} printable ASCII characters.`
    throw new BanyanError('INVALID', detail, { errors: [{ pointer: '/Idempotency-Key', detail }] })
  }
  return { key, request: `${c.req.method} ${c.req.path}\n${c.get('bodyText')}` }
}

/**
 * The site's origin, for links in mails: PUBLIC_ORIGIN, because any client can choose a `Host` header, or localhost.
 * Throws SETTING_MISSING.
 */
export function publicOrigin(c: Context<WebEnv>): string {
  const { publicOrigin } = c.get('tiers').settings
  if (publicOrigin) return publicOrigin
  const url = new URL(c.req.url)
  if (isLocalHost(url.hostname)) return url.origin
  throw new BanyanError(
    'SETTING_MISSING',
    'PUBLIC_ORIGIN is not set, and links in mails need it. Set it in wrangler.toml, for example to https://example.com.',
  )
}

export const isLocalHost = (hostname: string): boolean =>
  hostname === 'localhost' ||
  hostname.endsWith('.localhost') ||
  hostname === '[::1]' ||
  /^127(?:\.\d{1,3}){3}$/.test(hostname)
