/** Doubles of the two kinds of client: a browser that keeps cookies, and a program that sends a Bearer token. */

export interface RequestOptions {
  /** A body to send as JSON. */
  json?: unknown
  /** A form's fields, sent like a browser's form. */
  form?: Record<string, string>
  /** A body to send unchanged. */
  body?: string | Uint8Array | ReadableStream
  headers?: Record<string, string>
}

interface SetCookie {
  name: string
  value: string
  attributes: string[]
}

export interface Answer {
  status: number
  headers: Headers
  text: string
  cookies: SetCookie[]
  /** The body as JSON. */
  json<T = unknown>(): T
}

export interface Client {
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>
  get(path: string, options?: RequestOptions): Promise<Answer>
  post(path: string, json?: unknown, options?: RequestOptions): Promise<Answer>
}

export interface Browser extends Client {
  cookies: Map<string, string>
  submit(path: string, form: Record<string, string>): Promise<Answer>
}

export interface Bearer extends Client {
  token: string | null
  causalToken: string | null
}

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** Keeps and sends cookies, and sends its origin as browsers do. Does not follow redirects, so that tests see them. */
export function browser(base: URL): Browser {
  const cookies = new Map<string, string>()
  const request: Client['request'] = async (method, path, options = {}) => {
    const headers: Record<string, string> = { accept: 'text/html,*/*;q=0.8' }
    if (cookies.size > 0) headers.cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    if (UNSAFE.has(method)) headers.origin = base.origin
    const answer = await send(base, method, path, { ...options, headers: { ...headers, ...options.headers } })
    for (const cookie of answer.cookies) keep(cookies, cookie)
    return answer
  }
  return { ...shorthands(request), cookies, submit: (path, form) => request('POST', path, { form }) }
}

/** Keeps the token from sign-up and log-in, and the newest causal token. */
export function bearer(base: URL): Bearer {
  const client: Bearer = { ...shorthands(request), token: null, causalToken: null }
  async function request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const headers: Record<string, string> = { accept: 'application/json' }
    if (client.token) headers.authorization = `Bearer ${client.token}`
    if (client.causalToken) headers['x-causal-token'] = client.causalToken
    const answer = await send(base, method, path, { ...options, headers: { ...headers, ...options.headers } })
    client.causalToken = answer.headers.get('x-causal-token') ?? client.causalToken
    const isSignIn = method === 'POST' && (path === '/api/v1/accounts' || path === '/api/v1/sessions')
    if (isSignIn && answer.status === 201) client.token = answer.json<{ token: string }>().token
    return answer
  }
  return client
}

/** Sends requests of this client, who stays signed in if one of them creates another account. */
export const askAs =
  (client: Bearer) =>
  async (method: string, path: string, json?: unknown): Promise<Answer> => {
    const { token } = client
    const body = json instanceof Uint8Array ? { body: json } : { json }
    const answer = await client.request(method, path, json === undefined ? {} : body)
    client.token = token
    return answer
  }

const shorthands = (request: Client['request']): Client => ({
  request,
  get: (path, options) => request('GET', path, options),
  post: (path, json, options) => request('POST', path, { ...options, ...(json === undefined ? {} : { json }) }),
})

async function send(base: URL, method: string, path: string, options: RequestOptions): Promise<Answer> {
  const headers = new Headers(options.headers)
  let body: RequestOptions['body']
  if (options.json !== undefined) {
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
    body = JSON.stringify(options.json)
  } else if (options.form) {
    headers.set('content-type', 'application/x-www-form-urlencoded')
    body = new URLSearchParams(options.form).toString()
  } else body = options.body
  const streaming = body instanceof ReadableStream ? { duplex: 'half' } : {}
  const response = await fetch(base.origin + path, {
    method,
    headers,
    redirect: 'manual',
    ...(body === undefined ? {} : { body }),
    ...streaming,
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    cookies: response.headers.getSetCookie().map(parseSetCookie),
    json: () => JSON.parse(text),
  }
}

function parseSetCookie(line: string): SetCookie {
  const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
  const at = pair.indexOf('=')
  return { name: pair.slice(0, at), value: pair.slice(at + 1), attributes }
}

function keep(cookies: Map<string, string>, { name, value, attributes }: SetCookie): void {
  if (attributes.some((attribute) => /^max-age=0$/i.test(attribute))) cookies.delete(name)
  else cookies.set(name, value)
}
