import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Problem } from '../../console/shapes.ts'
import { readDevVars } from '../wrangler/dev-vars.ts'
import { isLocal, readAddress } from './address.ts'
import { AnswerLost, NotNow, UserError } from './errors.ts'
import { root } from './root.ts'

const DEFAULT_URL = 'http://localhost:8787'
const TIMEOUT_MS = 30_000
const POSTED_MAX = 5
const PAUSE_MS = 500
const RETRY_AFTER_MS_MAX = 30_000

export interface Connection {
  /** The application's address. */
  url: string
  /** GETs a path of the operators' API. Throws UserError with a fix; NotNow if the fix is to wait. */
  get<T>(path: string): Promise<T>
  /**
   * POSTs with its own `Idempotency-Key`. If the answer is lost, it repeats the request, up to five attempts in all. If
   * all fail, it throws AnswerLost: the operation may have happened.
   */
  post<T>(path: string, body?: object): Promise<T>
  /** PATCHes once. Throws AnswerLost. */
  patch<T>(path: string, body: object): Promise<T>
  /** DELETEs once. Throws AnswerLost. */
  delete(path: string): Promise<void>
}

export interface ConnectOptions {
  url?: string | undefined
  token?: string | undefined
  pause?: (ms: number) => Promise<unknown>
}

interface Answer {
  status: number
  headers: Headers
  text: string
}

/** The application's address. Throws UserError. */
export function addressOf(options: { url?: string | undefined }): string {
  // Build services pass an unset variable as an empty string.
  const url = options.url ?? (process.env.BANYAN_URL || DEFAULT_URL)
  readAddress(url)
  return url
}

/** A connection to the operators' API at `url`. Throws UserError if no token is known. */
export function connect(options: ConnectOptions): Connection {
  const url = addressOf(options)
  const { pause = sleep } = options
  const token = options.token ?? (process.env.BANYAN_TOKEN || localToken(url))
  if (!token)
    throw new UserError(`No operators’ token is known for ${url}.`, 'Pass one with --token, or set BANYAN_TOKEN.')
  const authorization = `Bearer ${token}`
  async function request<T>(method: string, path: string, body?: object, key?: string): Promise<T> {
    const headers = new Headers({ authorization })
    if (body) headers.set('content-type', 'application/json')
    if (key) headers.set('idempotency-key', key)
    const answer = await ask(new URL(path, url), { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
    if (answer.status === 204) return undefined as T
    const isOk = answer.status >= 200 && answer.status < 300
    const json = parsed(answer.text)
    if (isOk && json === undefined) throw noApi(url, answer)
    if (isOk) return json as T
    throw explain(answer, (json ?? {}) as Partial<Problem>, url, method)
  }
  return {
    url,
    get: (path) => request('GET', path),
    async post<T>(path: string, body?: object) {
      const key = randomUUID()
      let isOpen = false
      for (let posted = 1; ; posted++) {
        try {
          return await request<T>('POST', path, body, key)
        } catch (error) {
          if (!(error instanceof NotNow)) throw error
          isOpen ||= error instanceof AnswerLost
          if (!isOpen) throw error
          if (posted === POSTED_MAX) throw new AnswerLost(error.message, MAY_BE_DONE, error.code, error.retryAfterMs)
          await pause(Math.max(error.retryAfterMs, PAUSE_MS * 2 ** (posted - 1)))
        }
      }
    },
    patch: (path, body) => request('PATCH', path, body),
    delete: (path) => request('DELETE', path),
  }
}

const MAY_BE_DONE =
  'The operation may still have completed. Check before you repeat it: npm run banyan -- moves list (or shards list)'

async function ask(url: URL, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) })
    // The body is read here, so that an answer that ends early counts as no answer.
    return { status: response.status, headers: response.headers, text: await response.text() }
  } catch (error) {
    const { name, message, cause } = error as Error & { cause?: { code?: string } }
    const reason = name === 'TimeoutError' ? `no answer in ${TIMEOUT_MS / 1_000} s` : (cause?.code ?? message)
    const what = `${url.origin} does not answer (${reason}).`
    if (init.method !== 'GET' && !NEVER_SENT.includes(reason)) throw new AnswerLost(what, MAY_BE_DONE)
    throw new NotNow(what, 'Start it (locally: npm run dev), or pass the right address with --url.')
  }
}

/** Error codes after which no request was sent. */
export const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

/** Undefined if the text is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const noApi = (url: string, { status, headers }: Answer): UserError =>
  new UserError(
    `${url} answered ${status} with ${headers.get('content-type') ?? 'an unknown content type'} instead of JSON.`,
    'Check --url: this address does not serve the operators’ API.',
  )

/** Codes of 5xx answers that do not end by themselves. */
const FINAL = ['LOCAL_SETTINGS', 'MIGRATIONS_PENDING', 'SETTING_MISSING', 'SHARD_FOREIGN', 'SHARD_FULL']

function explain({ status, headers }: Answer, problem: Partial<Problem>, url: string, method: string): UserError {
  const { code = null, detail, title, requestId } = problem
  const seconds = Number(headers.get('retry-after')) || null
  const what = `${url} answered ${status} ${code ?? ''}: ${detail ?? title ?? 'no detail'}`
  if (status === 401) return new UserError(what, 'Pass the right token with --token or BANYAN_TOKEN.', code)
  if (status === 404)
    return new UserError(
      what,
      'Check the id and --url. The operators’ API also answers 404 if no OPERATOR_TOKEN is configured there.',
      code,
    )
  if (status === 422) return new UserError(what, 'See the options of the command: npm run banyan -- help', code)
  const later = seconds ? `Try again in ${seconds} s.` : 'Try again in a few seconds.'
  if (status === 409)
    return new UserError(what, seconds ? later : 'See the state of the moves: npm run banyan -- moves list', code)
  if (code && FINAL.includes(code))
    return new UserError(what, 'Waiting does not help. Fix the cause that the message names.', code)
  const retryAfterMs = Math.min((seconds ?? 0) * 1_000, RETRY_AFTER_MS_MAX)
  // A gateway's error has no code, and the application behind the gateway may have received the request.
  const isLost = method !== 'GET' && (code === 'OUTCOME_UNKNOWN' || (code === null && status >= 502))
  if (isLost) return new AnswerLost(what, MAY_BE_DONE, code, retryAfterMs)
  if (status === 429 || status >= 502) return new NotNow(what, later, code, retryAfterMs)
  return new UserError(what, `See the application’s logs for request ${requestId ?? '(no id)'}.`, code)
}

/** On localhost, the token in `.dev.vars`, which the first `npm run dev` creates. Null if there is none. */
function localToken(url: string): string | null {
  if (!isLocal(url)) return null
  return existsSync(path.join(root, '.dev.vars')) ? (readDevVars(root).OPERATOR_TOKEN ?? null) : null
}
