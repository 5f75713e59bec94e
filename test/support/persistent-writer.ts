/** People who write whatever happens, and remember what they were told. */
import type { Random } from '../../src/core/random.ts'
import type { PersistentClient } from './persistent-client.ts'

const PASSWORD = 'seven quiet herons'

/** A post as its author knows it. Each edit raises its version once; one whose answer was lost may have done so too. */
export interface KnownPost {
  id: string
  text: string
  versionMin: number
  versionMax: number
}

interface PostAnswer {
  post: { id: string; text: string; version: number }
}

export class PersistentWriter {
  readonly handle: string
  id = ''
  readonly posts = new Map<string, KnownPost>()
  readonly deleted = new Set<string>()
  /** Every key under which something was acknowledged. */
  readonly keys = new Set<string>()
  readonly acknowledged = { posts: 0, edits: 0, deletes: 0, mails: 0, reads: 0 }
  /** What must never happen. */
  readonly violations: string[] = []
  readonly #client: PersistentClient
  readonly #random: Random
  #number = 0

  constructor(handle: string, client: PersistentClient, random: Random) {
    this.handle = handle
    this.#client = client
    this.#random = random
  }

  async signUp(): Promise<void> {
    const json = { email: `${this.handle}@example.com`, handle: this.handle, password: PASSWORD }
    const headers = { 'idempotency-key': `sign-up-${this.handle}` }
    for (;;) {
      const { answer } = await this.#client.insist('POST', '/api/v1/accounts', { json, headers })
      if (answer.status === 201) {
        this.id = answer.json<{ user: { id: string } }>().user.id
        return
      }
      // Two requests of one sign-up have barred each other, and it says so.
      if (!answer.text.includes('"CONFLICT"')) throw new Error(`${this.handle} can’t sign up: ${answer.text}`)
    }
  }

  /** Writes one thing, or reads one back. */
  async step(): Promise<void> {
    const draw = this.#random.fraction()
    const post = this.#drawn([...this.posts.values()])
    if (!post || draw < 0.5) await this.#publish()
    else if (draw < 0.7) await this.#edit(post)
    else if (draw < 0.8) await this.#delete(post)
    else if (draw < 0.83) await this.#askForMail()
    else await this.#read(draw < 0.95 ? post.id : (this.#drawn([...this.deleted]) ?? post.id))
  }

  async #publish(): Promise<void> {
    const { key, text } = this.#next()
    const options = { json: { text }, headers: { 'idempotency-key': key } }
    const { answer } = await this.#client.insist('POST', '/api/v1/posts', options)
    if (answer.status !== 201) return this.#violated('POST', answer.status, answer.text)
    const { post } = answer.json<PostAnswer>()
    if (this.posts.has(post.id) || this.deleted.has(post.id)) return this.#violated(`a post's id twice`, 201, post.id)
    this.posts.set(post.id, { id: post.id, text, versionMin: 1, versionMax: 1 })
    this.keys.add(key)
    this.acknowledged.posts++
  }

  async #edit(post: KnownPost): Promise<void> {
    const { text } = this.#next()
    const { answer, uncertain } = await this.#client.insist('PATCH', `/api/v1/posts/${post.id}`, { json: { text } })
    if (answer.status !== 200) return this.#violated(`PATCH ${post.id}`, answer.status, answer.text)
    post.text = text
    post.versionMin += 1
    post.versionMax += 1 + uncertain
    this.acknowledged.edits++
    this.#compare(post, answer.json<PostAnswer>().post)
  }

  async #delete({ id }: KnownPost): Promise<void> {
    const { answer, uncertain } = await this.#client.insist('DELETE', `/api/v1/posts/${id}`)
    const isGoneByThen = answer.status === 404 && uncertain > 0
    if (answer.status !== 204 && !isGoneByThen) return this.#violated(`DELETE ${id}`, answer.status, answer.text)
    this.posts.delete(id)
    this.deleted.add(id)
    this.acknowledged.deletes++
  }

  /** Its job goes through the outbox, which moves with its owner. */
  async #askForMail(): Promise<void> {
    const { key } = this.#next()
    const headers = { 'idempotency-key': key }
    const { answer } = await this.#client.insist('POST', '/api/v1/email-verifications', { headers })
    if (answer.status !== 202) return this.#violated('POST email-verifications', answer.status, answer.text)
    this.keys.add(key)
    this.acknowledged.mails++
  }

  /** With the newest causal token, so its own writes have to be in what it reads. */
  async #read(id: string): Promise<void> {
    const { answer } = await this.#client.insist('GET', `/api/v1/posts/${id}`)
    const post = this.posts.get(id)
    if (answer.status !== (post ? 200 : 404)) return this.#violated(`GET ${id}`, answer.status, answer.text)
    this.acknowledged.reads++
    if (post) this.#compare(post, answer.json<PostAnswer>().post)
  }

  #compare(known: KnownPost, found: PostAnswer['post']): void {
    const { id, text, versionMin, versionMax } = known
    if (found.text !== text || found.version < versionMin || found.version > versionMax)
      this.#violated(`${id} should be ${text} (${versionMin}–${versionMax}) and is`, 200, JSON.stringify(found))
  }

  #violated(what: string, status: number, text: string): void {
    this.violations.push(`${new Date().toISOString()} ${this.handle}: ${what}: ${status} ${text}`)
  }

  #next(): { key: string; text: string } {
    const number = ++this.#number
    return { key: `${this.handle}-${number}`, text: `${this.handle} writes ${number}` }
  }

  #drawn<T>(from: T[]): T | undefined {
    return from[Math.floor(this.#random.fraction() * from.length)]
  }
}
