/** Users who keep writing through failures, and remember what was acknowledged. */
import type { Random } from '../../src/core/random.ts'
import { createCrews, type NounCrew, type NounWriter } from './noun-crews.ts'
import type { PersistentClient } from './persistent-client.ts'

const PASSWORD = 'seven quiet herons'

/**
 * A profile as its owner knows it. Each edit raises its version once, and so does each change of a post. A change
 * whose answer was lost may have raised it too.
 */
interface KnownProfile {
  bio: string
  versionMin: number
  versionMax: number
}

/** All users of one run, and what the nouns' crews write with them. */
export class Writers {
  readonly crews: NounCrew[] = createCrews()
  readonly people: PersistentWriter[] = []

  add(handle: string, client: PersistentClient, random: Random): PersistentWriter {
    const writer = new PersistentWriter(handle, client, random, this.crews)
    this.people.push(writer)
    return writer
  }

  /** The number of acknowledged requests, by kind of write or read. */
  acknowledged(): Record<string, number> {
    const sums: Record<string, number> = {}
    const counts = [...this.people.map((person) => person.acknowledged), ...this.crews.map((crew) => crew.acknowledged)]
    for (const [kind, count] of counts.flatMap(Object.entries<number>)) sums[kind] = (sums[kind] ?? 0) + count
    return sums
  }
}

export class PersistentWriter {
  readonly handle: string
  id = ''
  readonly profile: KnownProfile = { bio: '', versionMin: 1, versionMax: 1 }
  /** Every key with an acknowledged request. */
  readonly keys = new Set<string>()
  readonly acknowledged = { 'changes of profiles': 0, mails: 0, reads: 0 }
  /** Violations found so far. */
  readonly violations: string[] = []
  readonly #client: PersistentClient
  readonly #random: Random
  readonly #nouns: NounWriter[]
  #number = 0

  constructor(handle: string, client: PersistentClient, random: Random, crews: NounCrew[]) {
    this.handle = handle
    this.#client = client
    this.#random = random
    const { keys } = this
    const violated = this.#violated.bind(this)
    const next = this.#next.bind(this)
    const profileChanged = this.#profileChanged.bind(this)
    const member = { handle, id: () => this.id, client, random, keys, profileChanged, violated, next }
    this.#nouns = crews.map((crew) => crew.join(member))
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
      // Two requests of one sign-up have barred each other, and the answer says so.
      if (!answer.text.includes('"CONFLICT"')) throw new Error(`${this.handle} cannot sign up: ${answer.text}`)
    }
  }

  /** Writes or reads back one thing, usually of a noun if one has a crew. */
  async step(): Promise<void> {
    const noun = this.#nouns[Math.floor(this.#random.fraction() * this.#nouns.length)]
    const draw = this.#random.fraction()
    if (draw < 0.03) await this.#askForMail()
    else if (noun && draw < 0.85) await noun.step()
    else if (this.#random.fraction() < 0.7) await this.#changeProfile()
    else await this.#readProfile()
  }

  async #changeProfile(): Promise<void> {
    const { text: bio } = this.#next()
    const { answer, uncertain } = await this.#client.insist('PATCH', '/api/v1/me', { json: { bio } })
    if (answer.status !== 200) return this.#violated('PATCH me', answer.status, answer.text)
    this.profile.bio = bio
    this.#profileChanged(uncertain)
    this.acknowledged['changes of profiles']++
    this.#compare(answer.json())
  }

  #profileChanged(uncertain: number): void {
    this.profile.versionMin += 1
    this.profile.versionMax += 1 + uncertain
  }

  /** The mail's job goes through the outbox, which moves with its owner. */
  async #askForMail(): Promise<void> {
    const { key } = this.#next()
    const headers = { 'idempotency-key': key }
    const { answer } = await this.#client.insist('POST', '/api/v1/email-verifications', { headers })
    if (answer.status !== 202) return this.#violated('POST email-verifications', answer.status, answer.text)
    this.keys.add(key)
    this.acknowledged.mails++
  }

  /** Sends the newest causal token, so the answer must include the user's own writes. */
  async #readProfile(): Promise<void> {
    const { answer } = await this.#client.insist('GET', '/api/v1/me')
    if (answer.status !== 200) return this.#violated('GET me', answer.status, answer.text)
    this.acknowledged.reads++
    this.#compare(answer.json())
  }

  #compare({ user }: { user: { bio: string } }): void {
    if (user.bio !== this.profile.bio) this.#violated(`the bio should be ${this.profile.bio} but is`, 200, user.bio)
  }

  #violated(what: string, status: number, text: string): void {
    this.violations.push(`${new Date().toISOString()} ${this.handle}: ${what}: ${status} ${text}`)
  }

  #next(): { key: string; text: string } {
    const number = ++this.#number
    return { key: `${this.handle}-${number}`, text: `${this.handle} writes ${number}` }
  }
}
