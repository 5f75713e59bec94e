/** The platform's REST API: https://developers.cloudflare.com/api/ */
import { randomInt } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { UserError } from '../shell/errors.ts'

const DEFAULT_BASE_URL = 'https://api.cloudflare.com/client/v4'
const TIMEOUT_MS = 60_000
const ATTEMPTS_MAX = 4
const BACKOFF_MS = 500
/**
 * The API allows 1,200 calls in five minutes. If it asks for a longer wait than this, the command fails and says so.
 */
const RETRY_AFTER_MS_MAX = 30_000
const LIST_PAGES_MAX = 100
const LIST_PAGE_ROWS = 100

/** The API refused a call, or its outcome is unknown. */
export class PlatformError extends UserError {
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number
  /** The API's error codes. */
  readonly codes: number[]
  /** False if the call may still have taken effect. */
  readonly isCertain: boolean
  /** The answer's Retry-After; 0 without one. */
  readonly retryAfterMs: number

  constructor(message: string, fix: string, about: About) {
    super(message, fix)
    this.status = about.status
    this.codes = about.codes ?? []
    this.isCertain = about.isCertain
    this.retryAfterMs = about.retryAfterMs ?? 0
  }
}

interface About {
  status: number
  isCertain: boolean
  codes?: number[]
  retryAfterMs?: number
}

interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Relative to the account: `/d1/database`. */
  path: string
  query?: Record<string, string>
  /** An object is sent as JSON, bytes unchanged. */
  body?: object | Uint8Array
  headers?: Record<string, string>
}

/** One account of the platform. */
export interface Platform {
  readonly accountId: string
  /** The answer's `result`. Throws PlatformError. */
  call<T>(call: Call): Promise<T>
  /** Like `call`, but resolves to null for a 404. */
  find<T>(call: Call): Promise<T | null>
  /** All pages of a list. */
  list<T>(path: string, query?: Record<string, string>): Promise<T[]>
  /** The raw bytes of an answer that is not JSON; null for a 404. */
  bytes(path: string): Promise<Uint8Array | null>
}

export interface PlatformOptions {
  baseUrl?: string | undefined
  token?: string | undefined
  accountId?: string | null | undefined
  sleep?: (ms: number) => Promise<unknown>
}

interface Envelope {
  success: boolean
  errors?: { code: number; message: string }[]
  result: unknown
}

/**
 * Opens the account of CLOUDFLARE_ACCOUNT_ID or `account_id`. Throws UserError if the token or the account is missing.
 */
export function openPlatform(options: PlatformOptions): Platform {
  const baseUrl = (options.baseUrl || DEFAULT_BASE_URL).replace(/\/+$/, '')
  const { token, accountId, sleep = wait } = options
  if (!token)
    throw new UserError(
      'CLOUDFLARE_API_TOKEN is not set.',
      'Create a token at https://dash.cloudflare.com/profile/api-tokens with the permissions in docs/operating/deploying.md.',
    )
  if (!accountId)
    throw new UserError(
      'CLOUDFLARE_ACCOUNT_ID is not set.',
      'Set it to the id in the dashboard’s address, after dash.cloudflare.com/.',
    )

  async function attempt(call: Call): Promise<Response> {
    const url = new URL(`${baseUrl}/accounts/${accountId}${call.path}`)
    for (const [name, value] of Object.entries(call.query ?? {})) url.searchParams.set(name, value)
    const isBytes = call.body instanceof Uint8Array
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, ...call.headers }
    if (call.body && !isBytes) headers['content-type'] = 'application/json'
    const body = call.body instanceof Uint8Array ? new Blob([new Uint8Array(call.body)]) : JSON.stringify(call.body)
    try {
      const init = { method: call.method, headers, signal: AbortSignal.timeout(TIMEOUT_MS) }
      const response = await fetch(url, call.body ? { ...init, body } : init)
      // The body is read here, so that an answer that ends early counts as no answer.
      const content = await response.arrayBuffer()
      return new Response(NO_BODY.has(response.status) ? null : content, response)
    } catch (error) {
      throw unanswered(call, url, error as Error)
    }
  }

  /** Retries calls that certainly had no effect, and calls that may take effect twice. */
  async function persistently(call: Call): Promise<Response> {
    for (let tried = 1; ; tried++) {
      try {
        const response = await attempt(call)
        if (response.ok || response.status === 404) return response
        throw await refused(call, response)
      } catch (error) {
        if (!(error instanceof PlatformError)) throw error
        const isPassing = error.status === 429 || error.status === 0 || error.status >= 500
        const mayRepeat = error.isCertain || call.method === 'GET' || call.method === 'PUT'
        if (!isPassing || !mayRepeat || tried === ATTEMPTS_MAX) throw error
        const backoff = BACKOFF_MS * 2 ** (tried - 1)
        const pause = Math.max(error.retryAfterMs, backoff + randomInt(backoff))
        if (pause > RETRY_AFTER_MS_MAX) throw error
        await sleep(pause)
      }
    }
  }

  async function find<T>(call: Call): Promise<T | null> {
    const response = await persistently(call)
    if (response.status === 404) return null
    const envelope = await envelopeOf(response)
    if (!envelope?.success) throw await refused(call, response, envelope)
    return envelope.result as T
  }

  return {
    accountId,
    find,
    async call<T>(call: Call): Promise<T> {
      const response = await persistently(call)
      const envelope = await envelopeOf(response)
      if (!response.ok || !envelope?.success) throw await refused(call, response, envelope)
      return envelope.result as T
    },
    async list<T>(path: string, query: Record<string, string> = {}): Promise<T[]> {
      const rows: T[] = []
      for (let page = 1; page <= LIST_PAGES_MAX; page++) {
        const paged = { ...query, page: String(page), per_page: String(LIST_PAGE_ROWS) }
        const found = (await find<T[]>({ method: 'GET', path, query: paged })) ?? []
        rows.push(...found)
        if (found.length < LIST_PAGE_ROWS) return rows
      }
      throw new UserError(
        `The account’s list ${path} has more than ${LIST_PAGES_MAX * LIST_PAGE_ROWS} entries, the limit of this command.`,
        'Use a separate account for the application.',
      )
    },
    async bytes(path) {
      const response = await persistently({ method: 'GET', path })
      return response.status === 404 ? null : new Uint8Array(await response.arrayBuffer())
    },
  }
}

const NO_BODY = new Set([204, 205, 304])

/** Error codes after which no request was sent. */
const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

function unanswered(call: Call, url: URL, error: Error): PlatformError {
  const reason = (error.cause as { code?: string } | undefined)?.code ?? error.message
  return new PlatformError(`${url.origin} did not answer ${call.method} ${call.path} (${reason}).`, RUN_AGAIN, {
    status: 0,
    isCertain: NEVER_SENT.includes(reason),
  })
}

const RUN_AGAIN = 'Run the same command again; it first checks what already exists.'

async function envelopeOf(response: Response): Promise<Envelope | null> {
  const text = await response.clone().text()
  try {
    return JSON.parse(text) as Envelope
  } catch (error) {
    // A gateway answers in HTML.
    if (error instanceof SyntaxError) return null
    throw error
  }
}

async function refused(call: Call, response: Response, envelope?: Envelope | null): Promise<PlatformError> {
  const { errors = [] } = (envelope === undefined ? await envelopeOf(response) : envelope) ?? {}
  const { status } = response
  const reasons = errors.map(({ code, message }) => `${message} (${code})`).join('; ') || 'no reason given'
  const retryAfter = response.headers.get('retry-after')
  return new PlatformError(
    `Cloudflare answered ${status} to ${call.method} ${call.path}: ${reasons}.`,
    fixFor(call, errors.some(({ code }) => BAD_TOKEN.includes(code)) ? 401 : status, retryAfter),
    {
      status,
      codes: errors.map(({ code }) => code),
      isCertain: status < 500,
      retryAfterMs: Number(retryAfter ?? 0) * 1_000 || 0,
    },
  )
}

/** Token permissions by path prefix, with their names in the dashboard. */
const permissions: [string, string][] = [
  ['/d1', 'D1: Edit'],
  ['/storage/kv', 'Workers KV Storage: Edit'],
  ['/r2', 'Workers R2 Storage: Edit'],
  ['/queues', 'Queues: Edit'],
  ['/workers', 'Workers Scripts: Edit'],
]

/** Codes for a malformed, unknown or expired token. They also occur with status 400 and 403. */
const BAD_TOKEN = [1000, 6003, 6111]

function fixFor({ path }: Call, status: number, retryAfter: string | null): string {
  const permission = permissions.find(([start]) => path.startsWith(start))?.[1] ?? 'Account Settings: Read'
  if (status === 401)
    return 'CLOUDFLARE_API_TOKEN is invalid or expired. Create another at https://dash.cloudflare.com/profile/api-tokens.'
  if (status === 403)
    return `Give the token the permission "${permission}" in this account, and check CLOUDFLARE_ACCOUNT_ID.`
  if (status === 429) return `Too many calls. Run the same command again in ${retryAfter ?? '60'} s.`
  if (status >= 500) return `The platform has a problem; see https://www.cloudflarestatus.com. ${RUN_AGAIN}`
  return 'This call changed nothing. Fix the cause that the message names.'
}
