import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'

/** How much a move takes at once, and how long it rests in between, so that users hardly notice it. */
export class Pace {
  readonly #clock: Clock
  readonly #share: number
  #rowsMax: number = limits.moveChunkRowsFirst

  /** `share`: of each database's time, above 0; 1 is no rest at all. */
  constructor(clock: Clock, share: number) {
    this.#clock = clock
    this.#share = share
  }

  /** How many rows the next chunk may have. */
  get rowsMax(): number {
    return this.#rowsMax
  }

  /**
   * Runs one round, learns from its time, and rests in proportion to it. `isFull`: the chunk had as many rows as it
   * might; where bytes end it, more rows would be looked at in vain.
   */
  async round<T>(work: () => Promise<T>, isFull: (result: T) => boolean = () => true): Promise<T> {
    const startedAt = this.#clock.now()
    const result = await work()
    const tookMs = Math.max(0, this.#clock.now() - startedAt)
    if (tookMs < limits.moveBatchMs / 2 && isFull(result))
      this.#rowsMax = Math.min(limits.moveChunkRowsMax, this.#rowsMax * 2)
    if (tookMs > limits.moveBatchMs * 2) this.#rowsMax = Math.max(limits.moveChunkRowsMin, this.#rowsMax >> 1)
    const restMs = Math.min(limits.moveRestMsMax, tookMs * (1 / this.#share - 1))
    if (restMs > 0) await this.#clock.sleep(restMs)
    return result
  }
}
