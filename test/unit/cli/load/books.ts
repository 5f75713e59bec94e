/** A noun for tests of the load: books that their authors write and edit, and that anyone reads. */
import { parsed } from '../../../../src/cli/load/answer-body.ts'
import type { Ended } from '../../../../src/cli/load/client.ts'
import { oneOf } from '../../../../src/cli/load/draws.ts'
import type { Check, LoadNoun, Person } from '../../../../src/cli/load/noun.ts'
import { findMissing } from '../../../../src/cli/load/oracle.ts'
import { TextHistory } from '../../../../src/cli/load/text-history.ts'
import { answered, notFound, type Route, type Sent } from '../../../support/misbehaving-server.ts'

interface Book {
  id: string
  author: Person
  text: TextHistory
}

export const books: LoadNoun = (run) => {
  const written: Book[] = []

  async function write(author: Person): Promise<Ended> {
    const number = run.texts.nextNumber()
    const text = new TextHistory(run.clock)
    const options = { json: { text: run.texts.textOf(number) }, key: `${run.texts.run}-${number}` }
    const ended = await text.write(number, () => author.client.request('POST', '/books', options))
    const { id } = parsed<{ id: string }>(ended.body)
    if (ended.outcome === 'acknowledged' && id) written.push({ id, author, text })
    return ended
  }

  function edit({ id, author, text }: Book): Promise<Ended> {
    const number = run.texts.nextNumber()
    const json = { text: run.texts.textOf(number) }
    return text.write(number, () => author.client.request('PATCH', `/books/${id}`, { json }))
  }

  async function read(reader: Person, { id, author, text }: Book): Promise<Ended> {
    const { floor } = text
    const ended = await reader.client.request('GET', `/books/${id}`)
    if (ended.outcome === 'acknowledged' && author === reader)
      run.sightings.sawOwn(text.allows(numberOf(ended), floor), `GET ${id}`)
    return ended
  }

  const numberOf = ({ body }: Ended) => run.texts.numberIn(parsed<{ text: string }>(body).text)

  return {
    reads: [
      {
        name: 'read book',
        weight: 1,
        draw(reader, random) {
          const book = oneOf(random, written)
          return book ? () => read(reader, book) : null
        },
      },
    ],
    writes: [
      { name: 'write book', weight: 3, draw: (author) => () => write(author) },
      {
        name: 'edit book',
        weight: 2,
        draw(author) {
          const book = written.find((one) => one.author === author && !one.text.rests)
          return book ? () => edit(book) : null
        },
      },
    ],
    thing: {
      name: 'book',
      writeFirst: write,
      readBack(reader) {
        const checks = written.map<Check>(({ id, text }) => async () => {
          const about = `book ${id}`
          const ended = await reader.get(`/books/${id}`)
          const missing = findMissing(about, ended)
          if (missing) return [missing]
          return text.allows(numberOf(ended)) ? [] : [{ fault: 'lost', about, what: `${about} is older` }]
        })
        return { count: written.length, checks }
      },
    },
  }
}

/** Stores books. */
export class Shelf {
  readonly texts = new Map<string, string>()
  readonly #forgets: (sent: Sent) => boolean

  /** `forgets`: true for a request that is acknowledged but not stored. */
  constructor(forgets: (sent: Sent) => boolean = () => false) {
    this.#forgets = forgets
  }

  readonly route: Route = (sent) => {
    const { method, path, json } = sent
    const [, noun, given] = path.split('/')
    if (noun !== 'books') return null
    if (method === 'GET') {
      const text = this.texts.get(given ?? '')
      return text === undefined ? notFound() : answered(200, { text })
    }
    const id = given ?? `b${this.texts.size + 1}`
    if (!this.#forgets(sent)) this.texts.set(id, json.text ?? '')
    return answered(given ? 200 : 201, { id })
  }
}
