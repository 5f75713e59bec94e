/** What became of a write: `unknown` may have been applied or not, or may still be. */
export type Fate = 'pending' | 'acknowledged' | 'refused' | 'unknown'

export interface Write {
  /** The text that was sent, by its number. */
  number: number
  fate: Fate
}

// A request that was cut off may still be at work: 30 s is D1's bound on a batch, 5 s the router's on waiting for a move.
const REST_MS = 40_000

/**
 * One text that one person writes, one write after the other, and what a reader may find there: what was acknowledged
 * last, or any later write that wasn't refused.
 */
export class TextHistory {
  readonly #writes: Write[] = []
  #floor = -1
  #restsUntil = Number.NEGATIVE_INFINITY

  begin(number: number): Write {
    const write: Write = { number, fate: 'pending' }
    this.#writes.push(write)
    return write
  }

  /**
   * `wasUncertain`: some try of it got no answer. Then the text is left alone for a while, since that try could overtake
   * the next write.
   */
  settle(write: Write, fate: Exclude<Fate, 'pending'>, wasUncertain: boolean, now: number): void {
    write.fate = fate
    if (fate === 'acknowledged') this.#floor = this.#writes.lastIndexOf(write)
    if (wasUncertain) this.#restsUntil = now + REST_MS
  }

  rests(now: number): boolean {
    return now < this.#restsUntil
  }

  /** Where the last acknowledged write is: taken before a read that must see it, and handed to `allows` after. */
  get floor(): number {
    return this.#floor
  }

  /** Whether who began to read at `floor` may find this. `number` is null for what no write has left there. */
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
