import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { UserError } from './errors.ts'

const DEFAULT_URL = 'http://localhost:8787'
const TIMEOUT_MS = 30_000

export interface Connection {
  /** GETs a path of the operators' API. Throws UserError that says how to mend it. */
  get<T>(path: string): Promise<T>
}

interface Problem {
  title?: string
  detail?: string
  code?: string
  requestId?: string
}

/** A connection to the operators' API at `url`. */
export function connect(options: { url?: string | undefined; token?: string | undefined }): Connection {
  const url = options.url ?? process.env.BANYAN_URL ?? DEFAULT_URL
  if (!URL.canParse(url)) throw new UserError(`"${url}" is not a URL.`, `Give one like ${DEFAULT_URL} with --url.`)
  const token = options.token ?? process.env.BANYAN_TOKEN ?? localToken(url)
  if (!token) throw new UserError('No operator’s token.', 'Give one with --token, or set BANYAN_TOKEN.')
  return {
    async get<T>(path: string) {
      const response = await ask(new URL(path, url), token)
      if (response.ok) return (await response.json()) as T
      throw await explain(response, url)
    },
  }
}

async function ask(url: URL, token: string): Promise<Response> {
  try {
    return await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (error) {
    const reason = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message
    throw new UserError(
      `${url.origin} does not answer (${reason}).`,
      'Is it running? Locally: npm run dev. Elsewhere: --url URL.',
    )
  }
}

async function explain(response: Response, url: string): Promise<UserError> {
  const problem: Problem = await response.json().then(
    (body) => body as Problem,
    () => ({}),
  )
  const what = `${url} answered ${response.status} ${problem.code ?? ''}: ${problem.detail ?? problem.title ?? 'no detail'}`
  if (response.status === 401) return new UserError(what, 'Give the right token with --token or BANYAN_TOKEN.')
  if (response.status === 404)
    return new UserError(what, 'Is an OPERATOR_TOKEN configured there, and is this the right --url?')
  return new UserError(what, `Its logs have more under request ${problem.requestId ?? '(no id)'}.`)
}

/** On localhost, the token that the first `npm run dev` put into `.dev.vars`. */
function localToken(url: string): string | null {
  const { hostname } = new URL(url)
  if (hostname !== 'localhost' && hostname !== '127.0.0.1') return null
  const file = path.join(import.meta.dirname, '../../.dev.vars')
  return existsSync(file) ? (/^OPERATOR_TOKEN=(.+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? null) : null
}
