import { parsed } from '../../cli/load/answer-body.ts'
import type { Ended } from '../../cli/load/client.ts'
import { oneOf, ownerFor, type Random, zipfRank } from '../../cli/load/draws.ts'
import { STALE_MS_MAX } from '../../cli/load/leases.ts'
import type { Check, Finding, LoadNoun, LoadRun, Person, Reader } from '../../cli/load/noun.ts'
import { findMissing, unread } from '../../cli/load/oracle.ts'
import { TextHistory } from '../../cli/load/text-history.ts'
import { shownText } from '../../cli/load/texts.ts'

/** The share of post reads that read the reader's own newest post. The rest read any post, by Zipf's law. */
const OWN_NEWEST = 0.2

// Attempts to draw a post of an author that may be edited now.
const DRAWS = 3

// A page of a list has 20 posts, and more may be written while it is read.
const LISTED_MAX = 30
const PAGE_ITEMS = 100

export const operator: LoadNoun = (run) => {
  const posts = new PostRequests(run)
  return {
    reads: [
      {
        name: 'read post',
        weight: 75,
        draw(reader, random) {
          const post = posts.drawRead(reader, random)
          return post ? () => posts.read(reader, post) : null
        },
      },
      {
        name: 'list posts',
        weight: 10,
        draw(reader, random) {
          const author = ownerFor(reader, random, run.people)
          return () => posts.list(reader, author)
        },
      },
    ],
    writes: [
      { name: 'write post', weight: 50, draw: (author) => () => posts.write(author) },
      {
        name: 'edit post',
        weight: 40,
        draw(author, random) {
          const post = posts.drawEdit(author, random)
          return post ? () => posts.edit(post) : null
        },
      },
    ],
    thing: {
      name: 'post',
      writeFirst: (author) => posts.write(author),
      readBack: (reader) => posts.readBack(reader),
    },
  }
}

/** A post that was sent, identified by the number of its first text. */
interface SentPost {
  number: number
  author: Person
  text: TextHistory
  /** Null unless it was acknowledged. */
  id: string | null
}

interface Post extends SentPost {
  id: string
  /** By the run's clock. */
  acknowledgedAt: number
}

/** A run's requests for posts, their outcomes, and the checks at the end. */
class PostRequests {
  readonly #run: LoadRun
  readonly #sent = new Map<number, SentPost>()
  /** Acknowledged posts, oldest first. The oldest are read most. */
  readonly #acknowledged: Post[] = []
  /** Each author's acknowledged posts, oldest first. */
  readonly #byAuthor = new Map<Person, Post[]>()

  constructor(run: LoadRun) {
    this.#run = run
  }

  drawRead(reader: Person, random: Random): Post | undefined {
    const own = this.#of(reader).at(-1)
    if (own && random() < OWN_NEWEST) return own
    const count = this.#acknowledged.length
    return count === 0 ? undefined : this.#acknowledged[zipfRank(random, count) - 1]
  }

  /** A post that may be edited now; null if three draws find none. */
  drawEdit(author: Person, random: Random): Post | null {
    for (let draws = 0; draws < DRAWS; draws++) {
      const post = oneOf(random, this.#of(author))
      if (post && !post.text.rests) return post
    }
    return null
  }

  async write(author: Person): Promise<Ended> {
    const { clock, texts, sightings } = this.#run
    const number = texts.nextNumber()
    const sent: SentPost = { number, author, text: new TextHistory(clock), id: null }
    this.#sent.set(number, sent)
    const options = { json: { text: texts.textOf(number) }, key: `${texts.run}-${number}` }
    const ended = await sent.text.write(number, () => author.client.request('POST', '/api/v1/posts', options))
    if (ended.outcome !== 'acknowledged') return ended
    const id = postIn(ended.body)?.id
    if (id === undefined) {
      sightings.sawUnexpected(`POST ${number}: no post in the answer`)
      return ended
    }
    const post: Post = Object.assign(sent, { id, acknowledgedAt: clock.now() })
    this.#of(author).push(post)
    this.#acknowledged.push(post)
    return ended
  }

  edit({ author, id, text }: Post): Promise<Ended> {
    const { texts } = this.#run
    const number = texts.nextNumber()
    const json = { text: texts.textOf(number) }
    return text.write(number, () => author.client.request('PATCH', `/api/v1/posts/${id}`, { json }))
  }

  /**
   * An own post must show every earlier acknowledged write. Another's post may show any text sent, but must appear
   * soon.
   */
  async read(reader: Person, { id, author, text, acknowledgedAt }: Post): Promise<Ended> {
    const { clock, texts, sightings } = this.#run
    const { floor } = text
    const isOverdue = clock.now() > acknowledgedAt + STALE_MS_MAX
    const ended = await reader.client.request('GET', `/api/v1/posts/${id}`)
    const isMissing = ended.status === 404
    if (ended.outcome !== 'acknowledged' && !isMissing) return ended
    const number = texts.numberIn(postIn(ended.body)?.text)
    const what = `GET ${id}: ${isMissing ? 'not found' : shownText(number)}`
    if (author === reader) sightings.sawOwn(!isMissing && text.allows(number, floor), what)
    // With an older map or a replica, a reader may not find a new post for a while.
    else if (isMissing) sightings.missedAnothers(isOverdue, what)
    else if (number === null || !text.knows(number)) sightings.sawUnexpected(what)
    return isMissing ? { ...ended, outcome: 'acknowledged' } : ended
  }

  /** The reader's own list must contain every earlier acknowledged post, as far back as the page goes. */
  async list(reader: Person, author: Person): Promise<Ended> {
    const { texts, sightings } = this.#run
    const known = this.#of(author)
      .slice(-LISTED_MAX)
      .map((post) => ({ post, floor: post.text.floor }))
    const ended = await reader.client.request('GET', listPath(author))
    if (ended.outcome !== 'acknowledged' || reader !== author) return ended
    const page = pageIn(ended.body)
    if (!page) {
      sightings.sawUnexpected(`GET ${author.name}/posts: no list in the answer`)
      return ended
    }
    const shown = new Map(page.items.map(({ id, text }) => [id, text]))
    // An author's ids sort by time, and the list starts with the newest.
    const oldest = page.next === null ? '' : (page.items.at(-1)?.id ?? '')
    const stale = known.find(({ post, floor }) => {
      const text = shown.get(post.id)
      return text === undefined ? post.id >= oldest : !post.text.allows(texts.numberIn(text), floor)
    })
    sightings.sawOwn(!stale, `GET ${author.name}/posts: ${stale?.post.id} is missing, or older`)
    return ended
  }

  /** Reads each author's whole list, and each post by its id. */
  readBack(reader: Reader): { count: number; checks: Check[] } {
    const checks = this.#run.people.flatMap((author) => [
      () => this.#checkList(reader, author),
      ...this.#of(author).map((post) => () => this.#checkPost(reader, post)),
    ])
    return { count: this.#acknowledged.length, checks }
  }

  async #checkPost(reader: Reader, post: Post): Promise<Finding[]> {
    const about = `post ${post.id}`
    const ended = await reader.get(`/api/v1/posts/${post.id}`)
    const missing = findMissing(about, ended, `${about} (text ${post.number})`)
    return missing ? [missing] : this.#checkText(about, post, postIn(ended.body)?.text)
  }

  #checkText(about: string, { text }: SentPost, shown: string | undefined): Finding[] {
    const number = this.#run.texts.numberIn(shown)
    if (number !== null && text.allows(number)) return []
    const isForeign = number === null || !text.knows(number)
    const what = `${about} has ${shownText(number, shown)}; acknowledged was text ${text.acknowledged}`
    return [{ fault: isForeign ? 'unexpected' : 'lost', about, what }]
  }

  async #checkList(reader: Reader, author: Person): Promise<Finding[]> {
    const items: ReadPost[] = []
    const passed = new Set<string>()
    // A list that repeats a cursor would never end. Posts that it shows twice are found below.
    for (let cursor: string | null = ''; cursor !== null && !passed.has(cursor); ) {
      passed.add(cursor)
      const path = `${listPath(author)}?limit=${PAGE_ITEMS}&cursor=${encodeURIComponent(cursor)}`
      const ended = await reader.get(path)
      const page = ended.outcome === 'acknowledged' ? pageIn(ended.body) : null
      if (!page) return [unread(`list of ${author.name}`, ended)]
      items.push(...page.items)
      cursor = page.next
    }
    return this.#compareList(items, author)
  }

  /** A list must contain each acknowledged post once, each post of unknown outcome at most once, and nothing else. */
  #compareList(items: ReadPost[], author: Person): Finding[] {
    const findings: Finding[] = []
    const known = new Map<string, SentPost>(this.#of(author).map((post) => [post.id, post]))
    const timesSeen = new Map<SentPost, number>()
    for (const { id, text } of items) {
      const about = `post ${id}`
      const number = this.#run.texts.numberIn(text)
      const sent = known.get(id) ?? (number === null ? undefined : this.#sent.get(number))
      if (!sent || sent.author !== author || (sent.id === null && !sent.text.allows(number))) {
        const what = `${about} of ${author.name} was not written: ${shownText(number, text)}`
        findings.push({ fault: 'unexpected', about, what })
        continue
      }
      const times = (timesSeen.get(sent) ?? 0) + 1
      timesSeen.set(sent, times)
      const first = `text ${sent.number}`
      if (times > 1) findings.push({ fault: 'doubled', about: first, what: `${first}: there as ${id} too` })
      else if (sent.id === id) findings.push(...this.#checkText(about, sent, text))
    }
    for (const post of this.#of(author)) {
      if (timesSeen.has(post)) continue
      const about = `post ${post.id}`
      findings.push({ fault: 'lost', about, what: `${about} (text ${post.number}): not in ${author.name}’s list` })
    }
    return findings
  }

  #of(author: Person): Post[] {
    const posts = this.#byAuthor.get(author) ?? []
    this.#byAuthor.set(author, posts)
    return posts
  }
}

const listPath = ({ name }: Person): string => `/api/v1/users/${name}/posts`

interface ReadPost {
  id: string
  text: string
}

/** The post in an answer; null if the fields that a run uses do not match the contract. */
function postIn(body: string): ReadPost | null {
  const { post } = parsed<{ post: ReadPost }>(body)
  return isPost(post) ? post : null
}

function pageIn(body: string): { items: ReadPost[]; next: string | null } | null {
  const { items, next } = parsed<{ items: ReadPost[]; next: string | null }>(body)
  const isNext = next === null || typeof next === 'string'
  return isNext && Array.isArray(items) && items.every(isPost) ? { items, next } : null
}

const isPost = (post: ReadPost | undefined): post is ReadPost =>
  typeof post?.id === 'string' && typeof post.text === 'string'
