import type { Ended } from './client.ts'
import { below, oneOf, type Random } from './draws.ts'
import type { LoadPart, Person, RequestKind } from './noun.ts'

export interface DrawnRequest {
  /** The name of its kind. */
  kind: string
  isWrite: boolean
  send(): Promise<Ended>
}

/** The requests of all nouns, drawn in proportion to their weights. */
export class Mix {
  readonly #reads: RequestKind[]
  readonly #writes: RequestKind[]

  constructor(parts: LoadPart[]) {
    this.#reads = heaviestFirst(parts.flatMap(({ reads = [] }) => reads))
    this.#writes = heaviestFirst(parts.flatMap(({ writes = [] }) => writes))
  }

  /** The names of all kinds, in the report's order: reads before writes, and the heaviest first. */
  get kinds(): string[] {
    return [...this.#reads, ...this.#writes].map(({ name }) => name)
  }

  /** Draws a read with the probability `reads`, otherwise a write. Null if no user can send one now. */
  draw(random: Random, reads: number, people: readonly Person[]): DrawnRequest | null {
    if (random() < reads) {
      const reader = oneOf(random, people)
      const drawn = reader && drawKind(this.#reads, reader, random)
      return drawn ? { kind: drawn.name, isWrite: false, send: drawn.send } : null
    }
    const writer = freeOne(random, people)
    const drawn = writer && drawKind(this.#writes, writer, random)
    return drawn ? { kind: drawn.name, isWrite: true, send: () => writing(writer, drawn.send) } : null
  }
}

const heaviestFirst = (kinds: RequestKind[]): RequestKind[] => kinds.toSorted((a, b) => b.weight - a.weight)

/** Draws a kind by weight. If it has no request now, the heaviest kind that has one takes its place. */
function drawKind(kinds: RequestKind[], person: Person, random: Random) {
  let left = random() * kinds.reduce((sum, { weight }) => sum + weight, 0)
  const drawn = kinds.find(({ weight }) => {
    left -= weight
    return left < 0
  })
  for (const kind of drawn ? [drawn, ...kinds] : kinds) {
    const send = kind.draw(person, random)
    if (send) return { name: kind.name, send }
  }
  return null
}

/** A user who is not writing. The search starts at a random position. */
function freeOne(random: Random, people: readonly Person[]): Person | undefined {
  const first = below(random, people.length)
  return (
    people.find(({ isWriting }, index) => index >= first && !isWriting) ?? people.find(({ isWriting }) => !isWriting)
  )
}

async function writing(person: Person, send: () => Promise<Ended>): Promise<Ended> {
  person.isWriting = true
  const ended = await send()
  person.isWriting = false
  return ended
}
