import { createHistogram } from 'node:perf_hooks'

const MOST_MICROSECONDS = 600_000_000

/**
 * Times in an HDR histogram, which Node brings: 26 kB, however many times are counted. A quantile is off by 1 % at most up to
 * 10 minutes; the maximum is exact.
 */
export class Histogram {
  readonly #times = createHistogram({ lowest: 1, highest: MOST_MICROSECONDS, figures: 2 })
  maxMs = 0

  get count(): number {
    return this.#times.count
  }

  add(ms: number): void {
    this.#times.record(Math.min(MOST_MICROSECONDS, Math.max(1, Math.round(ms * 1_000))))
    this.maxMs = Math.max(this.maxMs, ms)
  }

  /** The time that a share of all is not over, in ms; 0 when there are none. */
  quantile(share: number): number {
    if (this.count === 0) return 0
    // Node rounds a percentile to the nearest rank: asked for a whole rank, it gives that one.
    const rank = Math.max(1, Math.ceil(share * this.count))
    return Math.min(this.maxMs, this.#times.percentile((100 * rank) / this.count) / 1_000)
  }

  addAll(other: Histogram): void {
    this.#times.add(other.#times)
    this.maxMs = Math.max(this.maxMs, other.maxMs)
  }
}
