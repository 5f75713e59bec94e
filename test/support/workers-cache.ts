/** The callee behind the cache: an entrypoint's `fetch`. */
type Callee = (request: Request) => Promise<Response>

interface Entry {
  storedAt: number
  status: number
  headers: Headers
  body: ArrayBuffer
  freshMs: number
  staleMs: number
  errorMs: number
  tags: string[]
  /** The request headers that `Vary` names, and their values. */
  variant: [string, string | null][]
}

type Outcome = 'HIT' | 'MISS' | 'EXPIRED' | 'UPDATING' | 'STALE' | 'BYPASS'

/** How long an answer without Cache-Control is kept, by status. */
const heuristicSeconds: Record<number, number> = {
  200: 7_200,
  203: 7_200,
  204: 7_200,
  300: 1_200,
  301: 1_200,
  404: 180,
  405: 60,
  410: 180,
  414: 60,
  501: 60,
}

/** Besides the address, only these headers are in the key. Host, cookies and Authorization are not. */
const keyHeaders = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-forwarded-host',
  'x-host',
  'x-forwarded-scheme',
  'x-original-url',
  'x-rewrite-url',
  'forwarded',
  'cloudflare-workers-version-key',
]

const MINUTE_MS = 60_000
const PURGES_PER_MINUTE = 5
const TAGS_PER_PURGE = 100
const TAG = /^[\x21-\x7e]{1,1024}$/

/**
 * Workers Cache, the platform's cache in front of an entrypoint, by its documentation
 * (developers.cloudflare.com/workers/cache). Where the documentation leaves a choice, this one is unkind:
 *
 * - A fill that began before a purge is stored after it.
 * - A refresh whose answer may not be stored leaves the old entry, which is served until its stale time is over.
 * - `Cache-Control` without an age is kept like an answer without one.
 * - The limit of purges counts refused calls, and there is no burst.
 *
 * It has one tier. The platform has two, which share an answer's age.
 */
export class WorkersCache {
  readonly #clock: { now(): number }
  readonly #entries = new Map<string, Entry[]>()
  readonly #filling = new Map<string, Promise<boolean>>()
  readonly #background = new Set<Promise<unknown>>()
  #purges: number[] = []
  /** A part of the key: each deployed version has its own entries. */
  version = 'version-1'
  isPurgeDown = false

  constructor(clock: { now(): number }) {
    this.#clock = clock
  }

  /** The entrypoint as its callers see it. `props` is a part of the key. */
  entrypoint(name: string, callee: Callee, props: Record<string, unknown> = {}) {
    return {
      fetch: (request: Request) => this.#fetch([name, JSON.stringify(props)], callee, request),
      /** The entrypoint's own `ctx.cache`. */
      cache: {
        purge: ({ tags = [] }: { tags?: string[] }) => this.#purge(name, tags),
      },
    }
  }

  /** The number of stored answers. */
  get size(): number {
    return [...this.#entries.values()].flat().length
  }

  /** Waits for the refreshes in the background. */
  async settled(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background)
  }

  async #fetch(callee: string[], run: Callee, request: Request): Promise<Response> {
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (!isRead || request.headers.get('upgrade') === 'websocket') return reported(await run(request), 'BYPASS')
    const { pathname, search } = new URL(request.url)
    const headers = keyHeaders.map((name) => request.headers.get(name))
    const key = JSON.stringify([...callee, this.version, pathname + search, headers])
    const answer = await this.#answer(key, run, request)
    return request.method === 'HEAD' ? new Response(null, answer) : answer
  }

  async #answer(key: string, run: Callee, request: Request): Promise<Response> {
    // A HEAD request fills the cache with the answer to a GET.
    const get = new Request(request, { method: 'GET' })
    const entry = this.#find(key, request)
    if (!entry) return this.#missed(key, run, get)
    const staleFor = this.#clock.now() - entry.storedAt - entry.freshMs
    if (staleFor < 0) return this.#stored(entry, 'HIT')
    if (staleFor < entry.staleMs) {
      this.#refresh(key, run, get)
      return this.#stored(entry, 'UPDATING')
    }
    const fresh = await run(get).catch(() => new Response('error code: 1101', { status: 500 }))
    if (fresh.status >= 500 && staleFor < entry.errorMs) return this.#stored(entry, 'STALE')
    return this.#keep(key, get, fresh, 'EXPIRED')
  }

  /** Concurrent misses of a key wait for the first. If its answer may not be stored, each calls for itself. */
  async #missed(key: string, run: Callee, request: Request): Promise<Response> {
    const filling = this.#filling.get(key)
    if (filling) {
      const isStored = await filling
      const entry = isStored && this.#find(key, request)
      return entry ? this.#stored(entry, 'HIT') : this.#keep(key, request, await run(request), 'MISS')
    }
    const filled = Promise.withResolvers<boolean>()
    this.#filling.set(key, filled.promise)
    try {
      return await this.#keep(key, request, await run(request), 'MISS')
    } finally {
      this.#filling.delete(key)
      filled.resolve(this.#find(key, request) !== undefined)
    }
  }

  #refresh(key: string, run: Callee, request: Request): void {
    const work = run(request)
      .then((fresh) => this.#keep(key, request, fresh, 'EXPIRED'))
      .catch(() => undefined)
      .finally(() => this.#background.delete(work))
    this.#background.add(work)
  }

  #find(key: string, request: Request): Entry | undefined {
    return this.#entries
      .get(key)
      ?.find(({ variant }) => variant.every(([name, value]) => request.headers.get(name) === value))
  }

  #stored(entry: Entry, outcome: Outcome): Response {
    const headers = new Headers(entry.headers)
    headers.set('age', String(Math.floor((this.#clock.now() - entry.storedAt) / 1_000)))
    return reported(new Response(bodyOf(entry), { status: entry.status, headers }), outcome)
  }

  /** Stores the answer if it may be stored. */
  async #keep(key: string, request: Request, answer: Response, outcome: Outcome): Promise<Response> {
    const lifetime = lifetimeOf(request, answer)
    if (!lifetime) return reported(answer, 'BYPASS')
    const vary = (answer.headers.get('vary') ?? '').split(',').map((name) => name.trim().toLowerCase())
    const names = vary.filter((name) => name !== '')
    const entry: Entry = {
      ...lifetime,
      storedAt: this.#clock.now(),
      status: answer.status,
      headers: forClients(answer.headers),
      body: await answer.arrayBuffer(),
      tags: (answer.headers.get('cache-tag') ?? '').split(',').filter((tag) => TAG.test(tag)),
      variant: names.map((name) => [name, request.headers.get(name)]),
    }
    const isOther = ({ variant }: Entry) => JSON.stringify(variant) !== JSON.stringify(entry.variant)
    this.#entries.set(key, [...(this.#entries.get(key) ?? []).filter(isOther), entry])
    return reported(new Response(bodyOf(entry), { status: entry.status, headers: entry.headers }), outcome)
  }

  async #purge(entrypoint: string, tags: string[]): Promise<CachePurgeResult> {
    if (this.isPurgeDown) throw new Error('internal error; reference = none')
    const now = this.#clock.now()
    this.#purges = [...this.#purges.filter((at) => now - at < MINUTE_MS), now]
    if (this.#purges.length > PURGES_PER_MINUTE) return refused(971, 'rate limit reached')
    if (tags.length > TAGS_PER_PURGE) return refused(1107, 'too many tags')
    const named = new Set(tags.map((tag) => tag.toLowerCase()))
    for (const [key, entries] of this.#entries) {
      const [owner] = JSON.parse(key) as [string]
      // All variants of an address have one identity.
      if (owner === entrypoint && entries.some((entry) => entry.tags.some((tag) => named.has(tag.toLowerCase()))))
        this.#entries.delete(key)
    }
    return { success: true, errors: [] }
  }
}

const refused = (code: number, message: string): CachePurgeResult => ({ success: false, errors: [{ code, message }] })

const bodyOf = ({ status, body }: Entry): ArrayBuffer | null => (status === 204 || status === 304 ? null : body)

function reported(answer: Response, outcome: Outcome): Response {
  const response = new Response(answer.body, { status: answer.status, headers: forClients(answer.headers) })
  response.headers.set('cf-cache-status', outcome)
  return response
}

/** The headers without those that the cache consumes. */
function forClients(given: Headers): Headers {
  const headers = new Headers(given)
  headers.delete('cache-tag')
  headers.delete('cloudflare-cdn-cache-control')
  return headers
}

type Lifetime = Pick<Entry, 'freshMs' | 'staleMs' | 'errorMs'>

/** How long the answer may be kept and served stale, or null if it may not be stored. */
function lifetimeOf(request: Request, { status, headers }: Response): Lifetime | null {
  if (status === 206 || (status >= 520 && status <= 526)) return null
  if (headers.get('vary')?.trim() === '*') return null
  const text = ['cloudflare-cdn-cache-control', 'cdn-cache-control', 'cache-control']
    .map((name) => headers.get(name))
    .find((value) => value !== null)
  const directives = new Map(
    (text ?? '').split(',').map((part) => {
      const [name = '', value = ''] = part.trim().toLowerCase().split('=')
      return [name, value] as const
    }),
  )
  if (directives.has('no-store') || directives.has('private')) return null
  if (headers.has('set-cookie')) return null
  const isForbidden = ['s-maxage', 'must-revalidate', 'proxy-revalidate'].some((name) => directives.has(name))
  if (request.headers.has('authorization') && !directives.has('public') && !isForbidden) return null
  const ms = (name: string) => {
    const value = directives.get(name)
    return value === undefined ? null : Number(value) * 1_000
  }
  const heuristic = heuristicSeconds[status]
  const freshMs = directives.has('no-cache')
    ? 0
    : (ms('s-maxage') ?? ms('max-age') ?? (heuristic === undefined ? null : heuristic * 1_000))
  if (freshMs === null) return null
  if (isForbidden) return { freshMs, staleMs: 0, errorMs: 0 }
  return {
    freshMs,
    staleMs: ms('stale-while-revalidate') ?? 0,
    errorMs: ms('stale-if-error') ?? Number.POSITIVE_INFINITY,
  }
}
