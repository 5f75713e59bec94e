/** The frame of the platform's API: routes, envelopes, refusals, and calls that fail as real calls do. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

export interface ApiRequest {
  method: string
  /** The path below the account. */
  path: string
  query: URLSearchParams
  headers: Record<string, string>
  body: Buffer
  json<T>(): T
  form(): Promise<FormData>
}

/** An API error, with its status and code. */
export class ApiRefusal extends Error {
  readonly status: number
  readonly code: number

  constructor(status: number, code: number, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** Bytes that are sent unchanged, without an envelope. */
export class RawAnswer {
  readonly bytes: Uint8Array
  readonly contentType: string

  constructor(bytes: Uint8Array, contentType: string) {
    this.bytes = bytes
    this.contentType = contentType
  }
}

export type Handler = (request: ApiRequest, ...parts: string[]) => unknown

/** `['GET', '/queues/:id/consumers', …]` */
export type Route = [method: string, path: string, handler: Handler]

/** How a call fails: before or after its effect, and with or without an answer. */
export const faults = ['reset before', '500 before', '500 after', '429', 'lost after'] as const
export type Fault = (typeof faults)[number]

export interface RecordedCall {
  method: string
  path: string
  isWrangler: boolean
  status: number
}

/** The id of an object by its name: the same in each run, so that runs can be compared. */
export const idOf = (kind: string, name: string): string =>
  createHash('sha256').update(`${kind} ${name}`).digest('hex').slice(0, 32)

const RETRY_AFTER_SECONDS = '1'

/** Serves routes as `<url>/accounts/<account>/…`. Records every call; answers 501 to a call without a route. */
export class ApiServer {
  readonly calls: RecordedCall[] = []
  /** Called with the number of each call, from 1. */
  failing: (number: number, call: Omit<RecordedCall, 'status'>) => Fault | null = () => null
  readonly #server: Server
  readonly #routes: { method: string; pattern: RegExp; handler: Handler }[]
  readonly #account: string
  readonly #token: string

  constructor(routes: Route[], { account, token }: { account: string; token: string }) {
    this.#account = account
    this.#token = token
    this.#routes = routes.map(([method, path, handler]) => ({
      method,
      pattern: new RegExp(`^${path.replaceAll(/:\w+\*/g, '(.+)').replaceAll(/:\w+/g, '([^/]+)')}$`),
      handler,
    }))
    this.#server = createServer((request, response) => void this.#take(request, response))
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}/client/v4`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming)
    const isWrangler = /wrangler/i.test(request.headers['user-agent'] ?? '')
    const call = { method: request.method, path: request.path, isWrangler }
    const recorded: RecordedCall = { ...call, status: 0 }
    this.calls.push(recorded)
    const fault = this.failing(this.calls.length, call)
    if (fault === 'reset before') return void incoming.socket.destroy()
    if (fault === '500 before') return send(response, recorded, refusal(500, 10000, 'An internal error'))
    if (fault === '429') {
      response.setHeader('retry-after', RETRY_AFTER_SECONDS)
      return send(response, recorded, refusal(429, 971, 'Please wait and consider throttling your request speed'))
    }
    const answer = await this.#answer(request)
    if (fault === 'lost after') return void incoming.socket.destroy()
    send(response, recorded, fault === '500 after' ? refusal(500, 10000, 'An internal error') : answer)
  }

  async #answer(request: ApiRequest): Promise<Answer> {
    const start = `/client/v4/accounts/${this.#account}`
    if (
      request.headers.authorization !== `Bearer ${this.#token}` &&
      !/^\/client\/v4\/.*\/assets\/upload/.test(request.path)
    )
      return refusal(401, 10000, 'Authentication error')
    if (!request.path.startsWith(start)) return refusal(403, 10000, 'Authentication error')
    const path = request.path.slice(start.length)
    try {
      for (const { method, pattern, handler } of this.#routes) {
        const match = method === request.method ? pattern.exec(path) : null
        if (!match) continue
        const result = await handler(request, ...match.slice(1).map(decodeURIComponent))
        return result instanceof RawAnswer ? result : { status: 200, body: envelope(result) }
      }
    } catch (error) {
      if (error instanceof ApiRefusal) return refusal(error.status, error.code, error.message)
      return refusal(501, 1, `The double failed: ${(error as Error).stack}`)
    }
    return refusal(501, 2, `The double does not implement ${request.method} ${path}`)
  }
}

type Answer = { status: number; body: object } | RawAnswer

function envelope(result: unknown): object {
  const info = Array.isArray(result)
    ? { result_info: { page: 1, per_page: 100, count: result.length, total_count: result.length, total_pages: 1 } }
    : {}
  return { success: true, errors: [], messages: [], result: result ?? null, ...info }
}

const refusal = (status: number, code: number, message: string): Answer => ({
  status,
  body: { success: false, errors: [{ code, message }], messages: [], result: null },
})

function send(response: ServerResponse, recorded: RecordedCall, answer: Answer): void {
  const isRaw = answer instanceof RawAnswer
  recorded.status = isRaw ? 200 : answer.status
  response.writeHead(recorded.status, { 'content-type': isRaw ? answer.contentType : 'application/json' })
  response.end(isRaw ? answer.bytes : JSON.stringify(answer.body))
}

async function readRequest(incoming: IncomingMessage): Promise<ApiRequest> {
  const url = new URL(incoming.url!, 'http://double')
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const headers = incoming.headers as Record<string, string>
  return {
    method: incoming.method!,
    path: url.pathname,
    query: url.searchParams,
    headers,
    body,
    json: <T>() => JSON.parse(body.toString()) as T,
    form: () => new Response(body, { headers: { 'content-type': headers['content-type']! } }).formData(),
  }
}
