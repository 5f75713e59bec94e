/** The part of the API that a load uses, in memory, with faults to order. */
import type { VirtualTime } from './virtual-time.ts'

export interface Sent {
  method: string
  path: string
  json: Record<string, string>
  key: string | null
  token: string | null
  causalToken: string | null
  /** How often this method, path and body was sent before. */
  before: number
}

export interface Faults {
  /** How long an answer takes. */
  latencyMs?(sent: Sent): number
  /** Answers in place of the server, which does nothing. */
  refuse?(sent: Sent): Response | null
  /** The request never arrives: this is the error's code. */
  unreachable?(sent: Sent): string | null
  /** Does what is asked, and the answer is lost. */
  losesAnswer?(sent: Sent): boolean
  /** Says that it did, and doesn't. */
  forgets?(sent: Sent): boolean
  /** Leaves a post out of its author's list. */
  isUnlisted?(id: string): boolean
  /** Lists go round and round. */
  isEndless?: boolean
  /** Does everything anew, however often a key comes. */
  ignoresKeys?: boolean
  /** Shows its author the text before the last. */
  isStale?(sent: Sent): boolean
}

interface Stored {
  id: string
  author: string
  texts: string[]
}

export class MisbehavingServer {
  readonly sent: Sent[] = []
  readonly posts: Stored[] = []
  readonly #bios = new Map<string, string>()
  readonly #answers = new Map<string, Response>()
  readonly #times = new Map<string, number>()
  readonly #time: VirtualTime
  readonly #faults: Faults

  constructor(time: VirtualTime, faults: Faults = {}) {
    this.#time = time
    this.#faults = faults
  }

  fetch = async (url: URL, { method, headers, body, signal }: RequestInit): Promise<Response> => {
    const given = new Headers(headers)
    const path = url.pathname + url.search
    const times = this.#times.get(`${method} ${path} ${body}`) ?? 0
    this.#times.set(`${method} ${path} ${body}`, times + 1)
    const sent: Sent = {
      method: method!,
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
      signal!.addEventListener('abort', () => reject(signal!.reason as Error)),
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
    const { method, path, json, token } = sent
    const pathname = path.split('?')[0]!
    const [, noun, id, part] = /^\/api\/v1\/(\w+)(?:\/(\w+))?(?:\/(\w+))?$/.exec(pathname) ?? []
    const post = this.posts.find((post) => post.id === id)
    if (path === '/readyz') return new Response('ok')
    if (method === 'POST' && noun === 'accounts') return answered(201, { token: json.handle! })
    if (method === 'POST' && noun === 'posts') return this.#publish(sent)
    if (noun === 'posts' && !post) return problem(404, 'NOT_FOUND')
    if (method === 'PATCH' && noun === 'posts') {
      if (!this.#faults.forgets?.(sent)) post!.texts.push(json.text!)
      return answered(200, { post: { id, text: json.text } })
    }
    if (method === 'PATCH') {
      if (!this.#faults.forgets?.(sent)) this.#bios.set(token!, json.bio!)
      return answered(200, {})
    }
    const isStale = this.#faults.isStale?.(sent)
    const shown = ({ id, texts }: Stored) => ({ id, text: (isStale && texts.at(-2)) || texts.at(-1) })
    if (noun === 'posts') return answered(200, { post: shown(post!) })
    if (part !== 'posts') return answered(200, { user: { bio: this.#bios.get(id!) ?? '' } })
    const items = this.posts.filter((one) => one.author === id && !this.#faults.isUnlisted?.(one.id)).toReversed()
    return answered(200, { items: items.map(shown), next: this.#faults.isEndless ? 'again' : null })
  }

  #publish(sent: Sent): Response {
    const id = `p${String(this.posts.length).padStart(8, '0')}`
    const isKept = !this.#faults.forgets?.(sent)
    this.posts.push({ id: isKept ? id : 'forgotten', author: isKept ? sent.token! : '', texts: [sent.json.text!] })
    return answered(201, { post: { id, text: sent.json.text } })
  }
}

let causal = 0
const answered = (status: number, body: object): Response =>
  Response.json(body, { status, headers: { 'x-causal-token': String(++causal) } })

export const problem = (status: number, code: string, headers: Record<string, string> = {}): Response =>
  Response.json({ code, title: code }, { status, headers })

/** As Node's fetch throws when a connection is refused, or breaks. */
function brokenOff(code: string): Error {
  return new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) })
}
