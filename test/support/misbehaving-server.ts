/** A server in memory with configurable faults. Its routes decide what it stores and answers. */
import type { VirtualTime } from './virtual-time.ts'

export interface Sent {
  method: string
  path: string
  json: Record<string, string>
  key: string | null
  token: string | null
  causalToken: string | null
  /** The number of earlier requests with this method, path and body. */
  before: number
}

/** Answers the requests that it handles; null for others. */
export type Route = (sent: Sent) => Response | null

export interface Faults {
  /** The latency of an answer. */
  latencyMs?(sent: Sent): number
  /** Answers instead of the server, which does nothing. */
  refuse?(sent: Sent): Response | null
  /** The request never arrives; returns the error's code. */
  unreachable?(sent: Sent): string | null
  /** The server carries out the request, but its answer is lost. */
  losesAnswer?(sent: Sent): boolean
  /** Carries out every repetition of a key again. */
  ignoresKeys?: boolean
}

const ready: Route = ({ path }) => (path === '/readyz' ? new Response('ok') : null)

export class MisbehavingServer {
  readonly sent: Sent[] = []
  readonly #answers = new Map<string, Response>()
  readonly #times = new Map<string, number>()
  readonly #time: VirtualTime
  readonly #routes: Route[]
  readonly #faults: Faults

  constructor(time: VirtualTime, routes: Route[], faults: Faults = {}) {
    this.#time = time
    this.#routes = [ready, ...routes]
    this.#faults = faults
  }

  fetch = async (url: URL, { method = 'GET', headers, body, signal }: RequestInit): Promise<Response> => {
    const given = new Headers(headers)
    const path = url.pathname + url.search
    const times = this.#times.get(`${method} ${path} ${body}`) ?? 0
    this.#times.set(`${method} ${path} ${body}`, times + 1)
    const sent: Sent = {
      method,
      path,
      json: body ? JSON.parse(body as string) : {},
      key: given.get('idempotency-key'),
      token: given.get('authorization')?.slice('Bearer '.length) ?? null,
      causalToken: given.get('x-causal-token'),
      before: times,
    }
    this.sent.push(sent)
    const { latencyMs, refuse, unreachable, losesAnswer } = this.#faults
    const code = unreachable?.(sent)
    if (code) throw brokenOff(code)
    const answer = refuse?.(sent) ?? this.#once(sent)
    const aborted = new Promise<never>((_, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason as Error)),
    )
    await Promise.race([this.#time.sleep(latencyMs?.(sent) ?? 1), aborted])
    if (losesAnswer?.(sent)) throw brokenOff('ECONNRESET')
    return answer
  }

  #once(sent: Sent): Response {
    const kept = sent.key && !this.#faults.ignoresKeys ? this.#answers.get(sent.key) : undefined
    const answer = kept ?? this.#answer(sent)
    if (sent.key) this.#answers.set(sent.key, answer.clone())
    return answer.clone()
  }

  #answer(sent: Sent): Response {
    for (const route of this.#routes) {
      const answer = route(sent)
      if (answer) return answer
    }
    return notFound()
  }
}

let causal = 0
export const answered = (status: number, body: object): Response =>
  Response.json(body, { status, headers: { 'x-causal-token': String(++causal) } })

export const problem = (status: number, code: string, headers: Record<string, string> = {}): Response =>
  Response.json({ code, title: code }, { status, headers })

export const notFound = () => problem(404, 'NOT_FOUND')

/** The error that Node's fetch throws if a connection is refused or breaks. */
function brokenOff(code: string): Error {
  return new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) })
}
