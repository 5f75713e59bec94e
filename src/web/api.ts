import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError, type FieldError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
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

/** A room for routes whose bodies and queries are checked by their schemas, which also make the OpenAPI document. */
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

/** 422 with a pointer a field; 404 where what is malformed is a path. */
export function invalid(issues: readonly Issue[], target = 'json'): BanyanError {
  if (target === 'param') return new BanyanError('NOT_FOUND', 'There is nothing at this path.')
  const errors: FieldError[] = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' && issue.keys
      ? issue.keys.map((key) => ({ pointer: pointerTo([...issue.path, key]), detail: 'This field is not known here.' }))
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

/** Text that comes back as it was sent: half a character (a lone surrogate) would be stored as another. */
export const wholeText = z
  .string()
  .refine((text) => text.isWellFormed(), 'This has half a character (a lone surrogate).')

/** The problems a route that reads may answer with, for its documentation: its own, and those of every route. */
export const problems = <const S extends number>(...own: S[]) => documented([...own, ...([400, 429, 503] as const)])

/** The same for a route that writes: what it is sent may be refused, and its database may be full. */
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

/** A whole number in a query: as `Number` writes it, so that no sign, space, hex, exponent or leading zero is guessed at. */
const decimal = (min: number, max: number) =>
  z
    .string()
    .regex(/^(?:0|[1-9][0-9]*)$/, `This is a whole number from ${min} to ${max}, in decimal digits.`)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .openapi({ type: 'integer', minimum: min, maximum: max })

export const pageQuery = z.object({
  limit: decimal(1, limits.pageItemsMax).openapi({ default: limits.pageItemsDefault }).default(limits.pageItemsDefault),
  cursor: z.string().max(200).optional(),
})

export const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().nullable() })

/** An opaque cursor: the last row's sort key. */
export const formatCursor = (key: string): string => Buffer.from(key).toString('base64url')

/** The sort key of a cursor that `isKey` accepts. Throws INVALID for anything else. */
export function parseCursor(cursor: string | undefined, isKey: (key: string) => boolean): string | null {
  if (cursor === undefined || cursor === '') return null
  const key = Buffer.from(cursor, 'base64url').toString()
  if (isKey(key) && formatCursor(key) === cursor) return key
  const detail = 'This cursor was not given out here. Start without one.'
  throw new BanyanError('INVALID', detail, { errors: [{ pointer: '/cursor', detail }] })
}

/** The request's Idempotency-Key and what it came with, or null. Throws INVALID for a key that is too long or not ASCII. */
export function retryKey(c: Context<WebEnv>): RetryKey | null {
  const key = c.req.header('idempotency-key')
  return key === undefined ? null : checkedRetryKey(c, key)
}

/** The same for a key that came as a form's hidden field. */
export function checkedRetryKey(c: Context<WebEnv>, key: string): RetryKey {
  if (key.length < 1 || key.length > limits.idempotencyKeyCharactersMax || !/^[\x20-\x7e]+$/.test(key)) {
    const detail = `An Idempotency-Key has 1 to ${limits.idempotencyKeyCharactersMax} ASCII characters.`
    throw new BanyanError('INVALID', detail, { errors: [{ pointer: '/Idempotency-Key', detail }] })
  }
  return { key, request: `${c.req.method} ${c.req.path}\n${c.get('bodyText')}` }
}

/** The address of this site, for links in mails: set, since a `Host` header is anybody's to choose; or localhost. */
export function publicOrigin(c: Context<WebEnv>): string {
  const { publicOrigin } = c.get('tiers').settings
  if (publicOrigin) return publicOrigin
  const url = new URL(c.req.url)
  if (isLocalHost(url.hostname)) return url.origin
  throw new BanyanError('SETTING_MISSING', 'PUBLIC_ORIGIN is not set (https://…): links in mails need it.')
}

export const isLocalHost = (hostname: string): boolean =>
  hostname === 'localhost' ||
  hostname.endsWith('.localhost') ||
  hostname === '[::1]' ||
  /^127(?:\.\d{1,3}){3}$/.test(hostname)
