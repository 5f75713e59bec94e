import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { NotNow, UserError } from './errors.ts'

const DEFAULT_URL = 'http://localhost:8787'
const TIMEOUT_MS = 30_000

export interface Connection {
  /** The application's. */
  url: string
  /** GETs a path of the operators' API. Throws UserError that says how to mend it; NotNow where that is to wait. */
  get<T>(path: string): Promise<T>
  /** POSTs to it, once: an answer that is lost leaves open what was done. */
  post<T>(path: string, body?: object): Promise<T>
  /** As `post`. */
  patch<T>(path: string, body: object): Promise<T>
  delete(path: string): Promise<void>
}

interface Problem {
  title?: string
  detail?: string
  code?: string
  requestId?: string
}

/** Where the application is. */
export function addressOf(options: { url?: string | undefined }): string {
  const url = options.url ?? process.env.BANYAN_URL ?? DEFAULT_URL
  if (!URL.canParse(url)) throw new UserError(`"${url}" is not a URL.`, `Give one like ${DEFAULT_URL} with --url.`)
  return url
}

/** A connection to the operators' API at `url`. */
export function connect(options: { url?: string | undefined; token?: string | undefined }): Connection {
  const url = addressOf(options)
  const token = options.token ?? process.env.BANYAN_TOKEN ?? localToken(url)
  if (!token) throw new UserError('No operator’s token.', 'Give one with --token, or set BANYAN_TOKEN.')
  const authorization = `Bearer ${token}`
  async function request<T>(path: string, init: RequestInit): Promise<T> {
    const response = await ask(new URL(path, url), init)
    if (response.status === 204) return undefined as T
    if (response.ok) return (await response.json()) as T
    throw await explain(response, url)
  }
  const send = <T>(method: string, path: string, body?: object) =>
    request<T>(path, {
      method,
      headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  return {
    url,
    get: (path) => request(path, { headers: { authorization } }),
    post: (path, body) => send('POST', path, body),
    patch: (path, body) => send('PATCH', path, body),
    delete: (path) => send('DELETE', path),
  }
}

async function ask(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (error) {
    const reason = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message
    const mayBeDone = init.method !== undefined && !NEVER_SENT.includes(reason)
    throw new NotNow(
      `${url.origin} does not answer (${reason}).`,
      mayBeDone
        ? 'It may have been done all the same. Look before you try again: npm run banyan -- moves list, shards list'
        : 'Is it running? Locally: npm run dev. Elsewhere: --url URL.',
    )
  }
}

/** Reasons with which no request has left. */
export const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

async function explain(response: Response, url: string): Promise<UserError> {
  const problem: Problem = await response.json().then(
    (body) => body as Problem,
    () => ({}),
  )
  const { status, headers } = response
  const seconds = headers.get('retry-after')
  const what = `${url} answered ${status} ${problem.code ?? ''}: ${problem.detail ?? problem.title ?? 'no detail'}`
  if (status === 401) return new UserError(what, 'Give the right token with --token or BANYAN_TOKEN.')
  if (status === 404)
    return new UserError(
      what,
      'Is it written right, is this the right --url, and is an OPERATOR_TOKEN configured there?',
    )
  if (status === 422) return new UserError(what, 'How to write it: npm run banyan -- help', problem.code)
  if (status === 409)
    return new UserError(
      what,
      seconds ? `Try again in ${seconds} s.` : 'Its state: npm run banyan -- moves list',
      problem.code,
    )
  if (status === 429 || status >= 502) return new NotNow(what, `Try again in ${seconds ?? 'some'} s.`)
  return new UserError(what, `Its logs have more under request ${problem.requestId ?? '(no id)'}.`)
}

/** On localhost, the token that the first `npm run dev` put into `.dev.vars`. */
function localToken(url: string): string | null {
  const { hostname } = new URL(url)
  if (hostname !== 'localhost' && hostname !== '127.0.0.1') return null
  const file = path.join(import.meta.dirname, '../../.dev.vars')
  return existsSync(file) ? (/^OPERATOR_TOKEN=(.+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? null) : null
}
