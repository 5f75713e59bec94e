import type { Cluster } from '../cluster/cluster.ts'

/** One request, as its client saw it. */
export interface Sample {
  kind: string
  /** 0 if there was no answer. */
  status: number
  ms: number
  calls: Record<'d1' | 'kv' | 'directory', number>
}

export interface Person {
  id: string
  handle: string
  token: string
  /** The cookies of the same session. */
  cookie: string
  posts: string[]
}

const asJson = { 'content-type': 'application/json' }

/** Sends requests and keeps each result. `chooseWeb` chooses the web server for a request. */
export class Load {
  readonly samples: Sample[] = []
  readonly #cluster: Cluster
  readonly #webs: () => number

  constructor(cluster: Cluster, chooseWeb: () => number) {
    this.#cluster = cluster
    this.#webs = chooseWeb
  }

  async send(kind: string, path: string, init: RequestInit = {}, web = this.#webs()): Promise<Response> {
    const startedAt = performance.now()
    const response = await answerOf(this.#cluster.fetch(web, path, init))
    const sample = { kind, status: response.status, ms: performance.now() - startedAt, calls: callsOf(response) }
    this.samples.push(sample)
    return response
  }

  async signUp(name: string): Promise<Person> {
    const body = JSON.stringify({ email: `${name}@example.com`, handle: name, password: 'a long journey 1' })
    const response = await this.send('sign up', '/api/v1/accounts', { method: 'POST', headers: asJson, body })
    const { user, token } = (await response.json()) as { user: { id: string; handle: string }; token: string }
    const cookie = response.headers.getSetCookie().map((line) => line.split(';')[0])
    return { id: user.id, handle: user.handle, token, cookie: cookie.join('; '), posts: [] }
  }

  async post(person: Person, text: string): Promise<Response> {
    const headers = { ...asJson, authorization: `Bearer ${person.token}` }
    const response = await this.send('write a post', '/api/v1/posts', {
      method: 'POST',
      headers,
      body: JSON.stringify({ text }),
    })
    if (response.status === 201) {
      const { post } = (await response.clone().json()) as { post: { id: string } }
      person.posts.push(post.id)
    }
    return response
  }

  readPost(id: string, kind = 'read a post', web?: number): Promise<Response> {
    return this.send(kind, `/api/v1/posts/${id}`, {}, web)
  }

  readSelf(person: Person, web?: number): Promise<Response> {
    return this.send('read own profile', '/api/v1/me', { headers: { authorization: `Bearer ${person.token}` } }, web)
  }

  /** Calls per request, latency and failures of each kind of request. Clears the samples. */
  summary(): string[][] {
    const kinds = Map.groupBy(this.samples.splice(0), (sample) => sample.kind)
    return [...kinds].map(([kind, samples]) => {
      const mean = (name: 'd1' | 'kv' | 'directory') =>
        (samples.reduce((sum, { calls }) => sum + calls[name], 0) / samples.length).toFixed(1)
      const failed = samples.filter(({ status }) => status === 0 || status >= 500).length
      const times = samples.map(({ ms }) => ms).sort((a, b) => a - b)
      return [
        kind,
        String(samples.length),
        mean('d1'),
        mean('kv'),
        mean('directory'),
        percentile(times, 0.5),
        percentile(times, 0.99),
        String(failed),
      ]
    })
  }
}

/** The answer to a request. Its status is 0 if there is none. */
export async function answerOf(request: Promise<Response>): Promise<Response> {
  try {
    return await request
  } catch (error) {
    if (error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError'))
      return Response.error()
    throw error
  }
}

export const summaryHead = ['request', 'n', 'D1', 'KV', 'directory', 'p50 ms', 'p99 ms', 'failed']

export const percentile = (sorted: number[], share: number): string =>
  (sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0).toFixed(0)

function callsOf(response: Response): Sample['calls'] {
  const timing = response.headers.get('server-timing') ?? ''
  const count = (name: string) => Number(new RegExp(`\\b${name};desc="(\\d+)"`).exec(timing)?.[1] ?? 0)
  return { d1: count('d1'), kv: count('kv'), directory: count('directory') }
}
