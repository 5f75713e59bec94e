import { expect } from 'vitest'
import { bearer } from '../../support/http-client.ts'
import type { CrewMember, NounCrew, NounWriter, QueryAll } from '../../support/noun-crews.ts'

/** A post as its author knows it. Each edit raises its version, and an edit without an answer may have raised it. */
interface KnownPost {
  id: string
  text: string
  versionMin: number
  versionMax: number
}

interface PostAnswer {
  post: { id: string; text: string; version: number }
}

interface Page {
  items: { id: string; text: string }[]
  next: string | null
}

type Acknowledged = Record<'posts' | 'edits' | 'deletes' | 'reads', number>

export const createCrew = (): NounCrew => new PostsCrew()

class PostsCrew implements NounCrew {
  readonly acknowledged: Acknowledged = { posts: 0, edits: 0, deletes: 0, reads: 0 }
  readonly #authors: Author[] = []

  join(member: CrewMember): NounWriter {
    const author = new Author(member, this.acknowledged)
    this.#authors.push(author)
    return author
  }

  /** All users' posts, page by page. */
  async expectRead(url: URL): Promise<void> {
    for (const { member, posts } of this.#authors) {
      const read: Page['items'] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const answer = await bearer(url).get(`/api/v1/users/${member.handle}/posts?limit=100&cursor=${cursor}`)
        expect(answer.status, answer.text).toBe(200)
        const page: Page = answer.json()
        read.push(...page.items.map(({ id, text }) => ({ id, text })))
        cursor = page.next
      }
      const known = [...posts.values()].map(({ id, text }) => ({ id, text }))
      expect(byId(read), member.handle).toEqual(byId(known))
    }
  }

  expectStored(all: QueryAll): void {
    const stored = all<{ id: string; author: string; text: string; version: number }>(
      'SELECT id, author_id AS author, text, version FROM posts',
    )
    const wanted = this.#authors.flatMap(({ member, posts }) =>
      [...posts.values()].map(({ id, text }) => ({ id, author: member.id(), text })),
    )
    expect(byId(stored.map(({ version: _, ...post }) => post)), 'posts').toEqual(byId(wanted))
    const counts = all<{ id: string; posts: number }>('SELECT id, posts FROM post_counts WHERE posts <> 0')
    const counted = Map.groupBy(stored, ({ author }) => author)
    expect(byId(counts), 'stored counts').toEqual(byId([...counted].map(([id, of]) => ({ id, posts: of.length }))))
    const versions = new Map(stored.map(({ id, version }) => [id, version]))
    const known = this.#authors.flatMap(({ posts }) => [...posts.values()])
    expect(
      known.filter(({ id, versionMin, versionMax }) => {
        const version = versions.get(id)
        return version === undefined || version < versionMin || version > versionMax
      }),
      'edits that were lost or came twice',
    ).toEqual([])
  }
}

class Author implements NounWriter {
  readonly member: CrewMember
  readonly posts = new Map<string, KnownPost>()
  readonly #deleted = new Set<string>()
  readonly #acknowledged: Acknowledged

  constructor(member: CrewMember, acknowledged: Acknowledged) {
    this.member = member
    this.#acknowledged = acknowledged
  }

  async step(): Promise<void> {
    const draw = this.member.random.fraction()
    const post = this.#drawn([...this.posts.values()])
    if (!post || draw < 0.5) await this.#publish()
    else if (draw < 0.7) await this.#edit(post)
    else if (draw < 0.8) await this.#delete(post)
    else await this.#read(draw < 0.95 ? post.id : (this.#drawn([...this.#deleted]) ?? post.id))
  }

  async #publish(): Promise<void> {
    const { client, keys, next, profileChanged, violated } = this.member
    const { key, text } = next()
    const options = { json: { text }, headers: { 'idempotency-key': key } }
    const { answer } = await client.insist('POST', '/api/v1/posts', options)
    if (answer.status !== 201) return violated('POST', answer.status, answer.text)
    const { post } = answer.json<PostAnswer>()
    if (this.posts.has(post.id) || this.#deleted.has(post.id)) return violated(`a post's id twice`, 201, post.id)
    this.posts.set(post.id, { id: post.id, text, versionMin: 1, versionMax: 1 })
    keys.add(key)
    profileChanged(0)
    this.#acknowledged.posts++
  }

  async #edit(post: KnownPost): Promise<void> {
    const { client, next, profileChanged, violated } = this.member
    const { text } = next()
    const { answer, uncertain } = await client.insist('PATCH', `/api/v1/posts/${post.id}`, { json: { text } })
    if (answer.status !== 200) return violated(`PATCH ${post.id}`, answer.status, answer.text)
    post.text = text
    post.versionMin += 1
    post.versionMax += 1 + uncertain
    profileChanged(uncertain)
    this.#acknowledged.edits++
    this.#compare(post, answer.json<PostAnswer>().post)
  }

  async #delete({ id }: KnownPost): Promise<void> {
    const { client, profileChanged, violated } = this.member
    const { answer, uncertain } = await client.insist('DELETE', `/api/v1/posts/${id}`)
    const isGoneByThen = answer.status === 404 && uncertain > 0
    if (answer.status !== 204 && !isGoneByThen) return violated(`DELETE ${id}`, answer.status, answer.text)
    profileChanged(uncertain)
    this.posts.delete(id)
    this.#deleted.add(id)
    this.#acknowledged.deletes++
  }

  /** Sends the newest causal token, so its reads must include its own writes. */
  async #read(id: string): Promise<void> {
    const { client, violated } = this.member
    const { answer } = await client.insist('GET', `/api/v1/posts/${id}`)
    const post = this.posts.get(id)
    if (answer.status !== (post ? 200 : 404)) return violated(`GET ${id}`, answer.status, answer.text)
    this.#acknowledged.reads++
    if (post) this.#compare(post, answer.json<PostAnswer>().post)
  }

  #compare(known: KnownPost, found: PostAnswer['post']): void {
    const { id, text, versionMin, versionMax } = known
    if (found.text !== text || found.version < versionMin || found.version > versionMax)
      this.member.violated(`${id} should be ${text} (${versionMin}–${versionMax}) and is`, 200, JSON.stringify(found))
  }

  #drawn<T>(from: T[]): T | undefined {
    return from[Math.floor(this.member.random.fraction() * from.length)]
  }
}

const byId = <T extends { id: string }>(rows: T[]): T[] => rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))
