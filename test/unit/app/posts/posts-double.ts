/** The API's posts in memory, with configurable mistakes. An author's token is the author's name. */
import { answered, notFound, type Route, type Sent } from '../../../support/misbehaving-server.ts'

export interface Mistakes {
  /** True for a write that is acknowledged but not stored. */
  forgets?(sent: Sent): boolean
  /** Omits a post from its author's list. */
  isUnlisted?(id: string): boolean
  /** Lists never end. */
  isEndless?: boolean
  /** Shows the text before the newest. */
  isStale?(sent: Sent): boolean
}

interface Stored {
  id: string
  author: string
  texts: string[]
}

export class PostsDouble {
  readonly posts: Stored[] = []
  readonly #mistakes: Mistakes

  constructor(mistakes: Mistakes = {}) {
    this.#mistakes = mistakes
  }

  readonly route: Route = (sent) => {
    const [pathname = ''] = sent.path.split('?')
    const [, author] = /^\/api\/v1\/users\/(\w+)\/posts$/.exec(pathname) ?? []
    if (author) return this.#list(author, sent)
    const [, noun, id] = /^\/api\/v1\/(posts)(?:\/(\w+))?$/.exec(pathname) ?? []
    if (!noun) return null
    if (sent.method === 'POST') return this.#publish(sent)
    const post = this.posts.find((one) => one.id === id)
    if (!post) return notFound()
    if (sent.method === 'GET') return answered(200, { post: this.#shown(post, sent) })
    const { text = '' } = sent.json
    if (!this.#mistakes.forgets?.(sent)) post.texts.push(text)
    return answered(200, { post: { id, text } })
  }

  #publish(sent: Sent): Response {
    const id = `p${String(this.posts.length).padStart(8, '0')}`
    const { text = '' } = sent.json
    const isKept = !this.#mistakes.forgets?.(sent)
    this.posts.push({ id: isKept ? id : 'forgotten', author: isKept ? (sent.token ?? '') : '', texts: [text] })
    return answered(201, { post: { id, text } })
  }

  #list(author: string, sent: Sent): Response {
    const { isUnlisted, isEndless } = this.#mistakes
    const items = this.posts.filter((one) => one.author === author && !isUnlisted?.(one.id)).toReversed()
    return answered(200, { items: items.map((post) => this.#shown(post, sent)), next: isEndless ? 'again' : null })
  }

  #shown({ id, texts }: Stored, sent: Sent) {
    return { id, text: (this.#mistakes.isStale?.(sent) && texts.at(-2)) || texts.at(-1) }
  }
}
