import type { Clock, Ended } from './client.ts'
import { STALE_MS_MAX } from './leases.ts'
import type { Ledger } from './ledger.ts'
import type { Person, Post } from './people.ts'
import { bioOf, listedPosts, textOfPost } from './reading.ts'
import type { Sightings } from './sightings.ts'
import type { TextHistory } from './text-history.ts'
import { numberIn, textOf } from './texts.ts'

// A page of a list has 20: somewhat more, since posts come while it is read.
const LISTED_MAX = 30

/** The requests of a run, each held against what was sent before. */
export class Requests {
  readonly #run: string
  readonly #ledger: Ledger<Person>
  readonly #sightings: Sightings
  readonly #clock: Clock

  constructor(run: string, ledger: Ledger<Person>, sightings: Sightings, clock: Clock) {
    this.#run = run
    this.#ledger = ledger
    this.#sightings = sightings
    this.#clock = clock
  }

  async writePost(person: Person): Promise<Ended> {
    const post = this.#ledger.beginPost(person)
    const json = { text: textOf(this.#run, post.number) }
    const ended = await this.#write(person, post.text, post.number, () =>
      person.client.request('POST', '/api/v1/posts', { json, key: `${this.#run}-${post.number}` }),
    )
    if (ended.outcome !== 'acknowledged') return ended
    post.id = textOfPost(ended.body)?.id ?? null
    if (post.id === null) return this.#unexpected(ended, `POST ${post.number}: no post in the answer`)
    post.acknowledgedAt = this.#clock.now()
    person.posts.push(post)
    this.#ledger.posts.push(post)
    return ended
  }

  editPost(post: Post): Promise<Ended> {
    const number = this.#ledger.nextNumber()
    const json = { text: textOf(this.#run, number) }
    return this.#write(post.author, post.text, number, () =>
      post.author.client.request('PATCH', `/api/v1/posts/${post.id}`, { json }),
    )
  }

  editProfile(person: Person): Promise<Ended> {
    const number = this.#ledger.nextNumber()
    const json = { bio: textOf(this.#run, number) }
    return this.#write(person, person.bio, number, () => person.client.request('PATCH', '/api/v1/me', { json }))
  }

  async #write(person: Person, text: TextHistory, number: number, send: () => Promise<Ended>): Promise<Ended> {
    person.isWriting = true
    const write = text.begin(number)
    const ended = await send()
    const fate = ended.outcome === 'refused' && ended.wasUncertain ? 'unknown' : ended.outcome
    text.settle(write, fate, ended.wasUncertain, this.#clock.now())
    person.isWriting = false
    return ended
  }

  /** One's own post shows at least what was acknowledged before; another's, anything that was sent to it, and soon. */
  async readPost(reader: Person, post: Post): Promise<Ended> {
    const { floor } = post.text
    const isOverdue = this.#clock.now() > post.acknowledgedAt! + STALE_MS_MAX
    const ended = await reader.client.request('GET', `/api/v1/posts/${post.id}`)
    const isOwn = post.author === reader
    const isMissing = ended.status === 404
    if (ended.outcome !== 'acknowledged' && !isMissing) return ended
    const number = numberIn(this.#run, textOfPost(ended.body)?.text ?? '')
    const what = `GET ${post.id}: ${isMissing ? 'not found' : shown(number)}`
    if (isOwn) this.#sightings.sawOwn(!isMissing && post.text.allows(number, floor), what)
    // Who reads by an older map, or from a replica, may be told so of a new post for a while.
    else if (isMissing) this.#sightings.missedAnothers(isOverdue, what)
    else if (number === null || !post.text.knows(number)) this.#sightings.sawUnexpected(what)
    return isMissing ? { ...ended, outcome: 'acknowledged' } : ended
  }

  async readProfile(reader: Person, person: Person): Promise<Ended> {
    const { floor } = person.bio
    const ended = await reader.client.request('GET', `/api/v1/users/${person.handle}`)
    if (ended.outcome !== 'acknowledged' || reader !== person) return ended
    const bio = bioOf(ended.body)
    const number = numberIn(this.#run, bio ?? '')
    const isRight = person.bio.allows(number, floor) && (number !== null || bio === '')
    this.#sightings.sawOwn(isRight, `GET ${person.handle}: ${shown(number)}`)
    return ended
  }

  /** One's own list has all that was acknowledged before, as far back as it goes. */
  async listPosts(reader: Person, person: Person): Promise<Ended> {
    const known = person.posts.slice(-LISTED_MAX).map((post) => ({ post, floor: post.text.floor }))
    const ended = await reader.client.request('GET', `/api/v1/users/${person.handle}/posts`)
    if (ended.outcome !== 'acknowledged' || reader !== person) return ended
    const page = listedPosts(ended.body)
    if (!page) return this.#unexpected(ended, `GET ${person.handle}/posts: no list in the answer`)
    const texts = new Map(page.items.map(({ id, text }) => [id, text]))
    // Of one author, the order of ids is the order of time, newest first.
    const oldest = page.next === null ? '' : (page.items.at(-1)?.id ?? '')
    const stale = known.find(({ post, floor }) => {
      const text = texts.get(post.id!)
      return text === undefined ? post.id! >= oldest : !post.text.allows(numberIn(this.#run, text), floor)
    })
    this.#sightings.sawOwn(!stale, `GET ${person.handle}/posts: ${stale?.post.id} is missing, or older`)
    return ended
  }

  #unexpected(ended: Ended, what: string): Ended {
    this.#sightings.sawUnexpected(what)
    return ended
  }
}

const shown = (number: number | null): string => (number === null ? 'another text' : `text ${number}`)
