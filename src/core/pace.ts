import type { Clock } from './clock.ts'
import { limits } from './limits.ts'

/** Sets how many rows a move or a backfill handles at once and how long it rests in between, so that users hardly notice it. */
export class Pace {
  readonly #clock: Clock
  readonly #share: number
  #rowsMax: number

  /**
   * `share`: the share of each database's time that the work may use. Above 0; 1 means no rest. `rowsMax`: of the first
   * chunk.
   */
  constructor(clock: Clock, share: number, rowsMax: number = limits.moveChunkRowsFirst) {
    this.#clock = clock
    this.#share = share
    this.#rowsMax = rowsMax
  }

  /** The most rows that the next chunk may have. */
  get rowsMax(): number {
    return this.#rowsMax
  }

  /**
   * Runs one round, adapts the chunk size to the time it took, and rests in proportion. `isFull` tells whether the
   * chunk had as many rows as allowed. If bytes ended the chunk, reading more rows would be wasted.
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
