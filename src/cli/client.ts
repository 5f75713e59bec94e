import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isLocal, readAddress } from './address.ts'
import { readDevVars } from './dev-vars.ts'
import { AnswerLost, NotNow, UserError } from './errors.ts'

const DEFAULT_URL = 'http://localhost:8787'
const TIMEOUT_MS = 30_000
const POSTED_MAX = 5
const PAUSE_MS = 500
const RETRY_AFTER_MS_MAX = 30_000

export interface Connection {
  /** The application's. */
  url: string
  /** GETs a path of the operators' API. Throws UserError that says how to mend it; NotNow where that is to wait. */
  get<T>(path: string): Promise<T>
  /**
   * POSTs to it under an `Idempotency-Key` of its own: when the answer is lost, the same again, five times at most in all.
   * Throws AnswerLost where that helps nothing: then it is open what was done.
   */
  post<T>(path: string, body?: object): Promise<T>
  /** PATCHes, once. Throws AnswerLost. */
  patch<T>(path: string, body: object): Promise<T>
  /** DELETEs, once. Throws AnswerLost. */
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

interface Problem {
  title?: string
  detail?: string
  code?: string
  requestId?: string
}

/** Where the application is. Throws UserError. */
export function addressOf(options: { url?: string | undefined }): string {
  // An unset variable of a build service is an empty one.
  const url = options.url ?? (process.env.BANYAN_URL || DEFAULT_URL)
  readAddress(url)
  return url
}

/** A connection to the operators' API at `url`. Throws UserError where no token is known. */
export function connect(options: ConnectOptions): Connection {
  const url = addressOf(options)
  const { pause = sleep } = options
  const token = options.token ?? (process.env.BANYAN_TOKEN || localToken(url))
  if (!token) throw new UserError('No operator’s token.', 'Give one with --token, or set BANYAN_TOKEN.')
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
    throw explain(answer, (json ?? {}) as Problem, url, method)
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
  'It may have been done all the same. Look before you try again: npm run banyan -- moves list, shards list'

async function ask(url: URL, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) })
    // Read here, so that an answer that breaks off half-way counts as one that didn't come.
    return { status: response.status, headers: response.headers, text: await response.text() }
  } catch (error) {
    const { name, message, cause } = error as Error & { cause?: { code?: string } }
    const reason = name === 'TimeoutError' ? `nothing in ${TIMEOUT_MS / 1_000} s` : (cause?.code ?? message)
    const what = `${url.origin} does not answer (${reason}).`
    if (init.method !== 'GET' && !NEVER_SENT.includes(reason)) throw new AnswerLost(what, MAY_BE_DONE)
    throw new NotNow(what, 'Is it running? Locally: npm run dev. Elsewhere: --url URL.')
  }
}

/** Reasons with which no request has left. */
export const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

/** Undefined for what is no JSON. */
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
    `${url} answered ${status} with ${headers.get('content-type') ?? 'something'} that is no JSON.`,
    'Is this the right --url? The operators’ API isn’t there.',
  )

/** 5xx that end by no waiting. */
const FINAL = ['LOCAL_SETTINGS', 'MIGRATIONS_PENDING', 'SETTING_MISSING', 'SHARD_FOREIGN', 'SHARD_FULL']

function explain({ status, headers }: Answer, problem: Problem, url: string, method: string): UserError {
  const { code = null, detail, title, requestId } = problem
  const seconds = Number(headers.get('retry-after')) || null
  const what = `${url} answered ${status} ${code ?? ''}: ${detail ?? title ?? 'no detail'}`
  if (status === 401) return new UserError(what, 'Give the right token with --token or BANYAN_TOKEN.', code)
  if (status === 404)
    return new UserError(
      what,
      'Is it written right, is this the right --url, and is an OPERATOR_TOKEN configured there?',
      code,
    )
  if (status === 422) return new UserError(what, 'How to write it: npm run banyan -- help', code)
  if (status === 409)
    return new UserError(what, seconds ? `Try again in ${seconds} s.` : 'Its state: npm run banyan -- moves list', code)
  if (code && FINAL.includes(code)) return new UserError(what, 'Waiting doesn’t mend it; what it names does.', code)
  const later = `Try again in ${seconds ?? 'some'} s.`
  const retryAfterMs = Math.min((seconds ?? 0) * 1_000, RETRY_AFTER_MS_MAX)
  // A gateway's error has no code: what it stands before may have had the request.
  const isLost = method !== 'GET' && (code === 'OUTCOME_UNKNOWN' || (code === null && status >= 502))
  if (isLost) return new AnswerLost(what, MAY_BE_DONE, code, retryAfterMs)
  if (status === 429 || status >= 502) return new NotNow(what, later, code, retryAfterMs)
  return new UserError(what, `Its logs have more under request ${requestId ?? '(no id)'}.`, code)
}

/** On localhost, the token that the local Worker has from `.dev.vars`, where the first `npm run dev` put one. */
function localToken(url: string): string | null {
  if (!isLocal(url)) return null
  const root = path.join(import.meta.dirname, '../..')
  return existsSync(path.join(root, '.dev.vars')) ? (readDevVars(root).OPERATOR_TOKEN ?? null) : null
}
