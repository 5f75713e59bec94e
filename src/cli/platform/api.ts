/** The platform's REST API: https://developers.cloudflare.com/api/ */
import { randomInt } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { UserError } from '../shell/errors.ts'

const DEFAULT_BASE_URL = 'https://api.cloudflare.com/client/v4'
const TIMEOUT_MS = 60_000
const ATTEMPTS_MAX = 4
const BACKOFF_MS = 500
/** The API allows 1,200 calls in five minutes; who is told to wait longer than this is told so. */
const RETRY_AFTER_MS_MAX = 30_000
const LIST_PAGES_MAX = 100
const LIST_PAGE_ROWS = 100

/** What the API refused, or what became of a call unknown. */
export class PlatformError extends UserError {
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number
  /** The API's own codes. */
  readonly codes: number[]
  /** False when the call may have been carried out all the same. */
  readonly isCertain: boolean
  /** How long it asks to be left alone. */
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
  /** Below the account: `/d1/database`. */
  path: string
  query?: Record<string, string>
  /** An object goes as JSON, bytes as they are. */
  body?: object | Uint8Array
  headers?: Record<string, string>
}

/** One account of the platform. */
export interface Platform {
  readonly accountId: string
  /** The answer's `result`. Throws PlatformError. */
  call<T>(call: Call): Promise<T>
  /** The same, but null for what isn't there: a 404. */
  find<T>(call: Call): Promise<T | null>
  /** All pages of a list. */
  list<T>(path: string, query?: Record<string, string>): Promise<T[]>
  /** Raw bytes, for what is no JSON; null for a 404. */
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

/** Opens the account named by CLOUDFLARE_ACCOUNT_ID or `account_id`. Throws UserError where token or account is missing. */
export function openPlatform(options: PlatformOptions): Platform {
  const baseUrl = (options.baseUrl || DEFAULT_BASE_URL).replace(/\/+$/, '')
  const { token, accountId, sleep = wait } = options
  if (!token)
    throw new UserError(
      'CLOUDFLARE_API_TOKEN is not set.',
      'Make a token at https://dash.cloudflare.com/profile/api-tokens; which permissions it needs: docs/operating/deploying.md.',
    )
  if (!accountId)
    throw new UserError(
      'CLOUDFLARE_ACCOUNT_ID is not set.',
      'It is in the dashboard’s address, after dash.cloudflare.com/.',
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
      // Read here, so that an answer that breaks off half-way counts as one that didn't come.
      const content = await response.arrayBuffer()
      return new Response(NO_BODY.has(response.status) ? null : content, response)
    } catch (error) {
      throw unanswered(call, url, error as Error)
    }
  }

  /** Repeats what was surely not carried out, and what may be carried out twice. */
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
        `${path} has more than ${LIST_PAGES_MAX * LIST_PAGE_ROWS} entries.`,
        'Use an account of its own.',
      )
    },
    async bytes(path) {
      const response = await persistently({ method: 'GET', path })
      return response.status === 404 ? null : new Uint8Array(await response.arrayBuffer())
    },
  }
}

const NO_BODY = new Set([204, 205, 304])

/** Reasons with which no request has left. */
const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

function unanswered(call: Call, url: URL, error: Error): PlatformError {
  const reason = (error.cause as { code?: string } | undefined)?.code ?? error.message
  return new PlatformError(
    `${url.origin} did not answer ${call.method} ${call.path} (${reason}).`,
    'Run the same command again: it looks first at what is there.',
    { status: 0, isCertain: NEVER_SENT.includes(reason) },
  )
}

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
    mending(call, errors.some(({ code }) => BAD_TOKEN.includes(code)) ? 401 : status, retryAfter),
    {
      status,
      codes: errors.map(({ code }) => code),
      isCertain: status < 500,
      retryAfterMs: Number(retryAfter ?? 0) * 1_000 || 0,
    },
  )
}

/** By the path's beginning: the permission of a token that its calls need, as the dashboard calls it. */
const permissions: [string, string][] = [
  ['/d1', 'D1: Edit'],
  ['/storage/kv', 'Workers KV Storage: Edit'],
  ['/r2', 'Workers R2 Storage: Edit'],
  ['/queues', 'Queues: Edit'],
  ['/workers', 'Workers Scripts: Edit'],
]

/** Codes for a token that is malformed, unknown or expired, which come with 400 and 403 as well. */
const BAD_TOKEN = [1000, 6003, 6111]

function mending({ path }: Call, status: number, retryAfter: string | null): string {
  const permission = permissions.find(([start]) => path.startsWith(start))?.[1] ?? 'Account Settings: Read'
  if (status === 401)
    return 'CLOUDFLARE_API_TOKEN is not valid (any more): make another at https://dash.cloudflare.com/profile/api-tokens.'
  if (status === 403)
    return `The token needs the permission "${permission}" in this account: is CLOUDFLARE_ACCOUNT_ID right?`
  if (status === 429) return `Too many calls. Run the same command again in ${retryAfter ?? '60'} s.`
  if (status >= 500)
    return 'The platform has trouble (https://www.cloudflarestatus.com). Run the same command again: it looks first at what is there.'
  return 'Nothing was changed by this call. What the reason says is the thing to mend.'
}
