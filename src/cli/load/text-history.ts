import type { Clock, Ended } from './client.ts'

interface Write {
  /** The text that was sent, by its number. */
  number: number
  /** What became of it: `unknown` may have been applied or not, or may still be. */
  fate: 'pending' | Ended['outcome']
}

// An interrupted request may still be running: D1 limits a batch to 30 s, and the router waits up to 5 s for a move.
const REST_MS = 40_000

/**
 * One text that one person writes, one write after the other, and what a reader may find there: the last acknowledged
 * write, or any later one that was not refused.
 */
export class TextHistory {
  readonly #clock: Clock
  readonly #writes: Write[] = []
  #floor = -1
  #restsUntil = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Sends a write of the text with this number, and keeps what became of it. */
  async write(number: number, send: () => Promise<Ended>): Promise<Ended> {
    const write: Write = { number, fate: 'pending' }
    this.#writes.push(write)
    const ended = await send()
    write.fate = ended.outcome === 'refused' && ended.wasUncertain ? 'unknown' : ended.outcome
    if (write.fate === 'acknowledged') this.#floor = this.#writes.lastIndexOf(write)
    if (ended.wasUncertain) this.#restsUntil = this.#clock.now() + REST_MS
    return ended
  }

  /** Whether no write may follow yet: a try of the last one got no answer, and could overtake the next write. */
  get rests(): boolean {
    return this.#clock.now() < this.#restsUntil
  }

  /** Where the last acknowledged write is. Take it before a read that must see it, and pass it to `allows` afterwards. */
  get floor(): number {
    return this.#floor
  }

  /** Whether a reader who began at `floor` may find this. `number` is null for what no write has left there. */
  allows(number: number | null, floor = this.#floor): boolean {
    if (number === null) return floor < 0
    return this.#writes.some((write, index) => index >= floor && write.number === number && write.fate !== 'refused')
  }

  /** Whether it was ever sent, and not refused. */
  knows(number: number): boolean {
    return this.#writes.some((write) => write.number === number && write.fate !== 'refused')
  }

  /** The last acknowledged number, or null. */
  get acknowledged(): number | null {
    return this.#writes[this.#floor]?.number ?? null
  }
}
