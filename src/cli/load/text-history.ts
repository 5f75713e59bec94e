import type { Clock, Ended } from './client.ts'

interface Write {
  /** The number of the text that was sent. */
  number: number
  /** The outcome. `unknown`: the write may have been applied, or may still be applied. */
  fate: 'pending' | Ended['outcome']
}

// An interrupted request may still be running: D1 limits a batch to 30 s, and the router waits up to 5 s for a move.
const REST_MS = 40_000

/**
 * The writes of one text by one person, one after the other. A reader may find the last acknowledged write, or any
 * later one that was not refused.
 */
export class TextHistory {
  readonly #clock: Clock
  readonly #writes: Write[] = []
  #floor = -1
  #restsUntil = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Sends a write of the text with this number, and records its outcome. */
  async write(number: number, send: () => Promise<Ended>): Promise<Ended> {
    const write: Write = { number, fate: 'pending' }
    this.#writes.push(write)
    const ended = await send()
    write.fate = ended.outcome === 'refused' && ended.wasUncertain ? 'unknown' : ended.outcome
    if (write.fate === 'acknowledged') this.#floor = this.#writes.lastIndexOf(write)
    if (ended.wasUncertain) this.#restsUntil = this.#clock.now() + REST_MS
    return ended
  }

  /** True while no write may follow, because an unanswered attempt of the last write could overtake the next one. */
  get rests(): boolean {
    return this.#clock.now() < this.#restsUntil
  }

  /**
   * The position of the last acknowledged write. Take it before a read that must see that write, and pass it to
   * `allows`.
   */
  get floor(): number {
    return this.#floor
  }

  /** True if a read that started at `floor` may find this text. `number` is null for text that no write sent. */
  allows(number: number | null, floor = this.#floor): boolean {
    if (number === null) return floor < 0
    return this.#writes.some((write, index) => index >= floor && write.number === number && write.fate !== 'refused')
  }

  /** True if the text was sent and not refused. */
  knows(number: number): boolean {
    return this.#writes.some((write) => write.number === number && write.fate !== 'refused')
  }

  /** The last acknowledged number, or null. */
  get acknowledged(): number | null {
    return this.#writes[this.#floor]?.number ?? null
  }
}
