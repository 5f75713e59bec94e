import { createHistogram } from 'node:perf_hooks'

const MOST_MICROSECONDS = 600_000_000

/**
 * Times in Node's HDR histogram, which takes 26 kB for any number of values. Quantiles are accurate to 1 % up to 10
 * minutes; the maximum is exact.
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

  /** The time in ms that a `share` of all times does not exceed; 0 if there are none. */
  quantile(share: number): number {
    if (this.count === 0) return 0
    // Node rounds a percentile to the nearest rank, so a percentile of a whole rank is exact.
    const rank = Math.max(1, Math.ceil(share * this.count))
    return Math.min(this.maxMs, this.#times.percentile((100 * rank) / this.count) / 1_000)
  }

  addAll(other: Histogram): void {
    this.#times.add(other.#times)
    this.maxMs = Math.max(this.maxMs, other.maxMs)
  }
}
