import { TextHistory } from './text-history.ts'

/** A post that was sent, under the number of its first text; with an id once that was acknowledged. */
export interface SentPost<Author> {
  number: number
  author: Author
  id: string | null
  /** By the clock of the run; null while it isn't. */
  acknowledgedAt: number | null
  text: TextHistory
}

/** What a run has sent, and what it was told. */
export class Ledger<Author> {
  readonly #byNumber = new Map<number, SentPost<Author>>()
  #number = 0
  /** Acknowledged posts, in the order in which they were: the first are read most. */
  readonly posts: SentPost<Author>[] = []

  nextNumber(): number {
    return ++this.#number
  }

  beginPost(author: Author): SentPost<Author> {
    const post = { number: this.nextNumber(), author, id: null, acknowledgedAt: null, text: new TextHistory() }
    this.#byNumber.set(post.number, post)
    return post
  }

  /** The post that was sent with this as its first text. */
  sentAs(number: number): SentPost<Author> | undefined {
    return this.#byNumber.get(number)
  }
}
