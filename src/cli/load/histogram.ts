const LEAST_MS = 0.1
const MOST_MS = 600_000
const GROWTH = 1.02
const LOG_GROWTH = Math.log(GROWTH)
const BUCKETS = bucketOf(MOST_MS) + 1

/**
 * Times in buckets, each 2 % wider than the one before: 789 numbers, however many times are counted. A quantile is off by
 * 1 % at most between 0.1 ms and 10 minutes; the maximum is exact.
 */
export class Histogram {
  readonly #buckets = new Uint32Array(BUCKETS)
  count = 0
  maxMs = 0

  add(ms: number): void {
    this.#buckets[Math.min(BUCKETS - 1, bucketOf(ms))]!++
    this.count++
    this.maxMs = Math.max(this.maxMs, ms)
  }

  /** The time that a share of all is not over, in ms; 0 when there are none. */
  quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.count))
    let passed = 0
    for (const [bucket, count] of this.#buckets.entries()) {
      passed += count
      if (passed >= rank) return Math.min(this.maxMs, middleOf(bucket))
    }
    return 0
  }

  addAll(other: Histogram): void {
    for (const [bucket, count] of other.#buckets.entries()) this.#buckets[bucket]! += count
    this.count += other.count
    this.maxMs = Math.max(this.maxMs, other.maxMs)
  }
}

function bucketOf(ms: number): number {
  return ms <= LEAST_MS ? 0 : Math.floor(Math.log(ms / LEAST_MS) / LOG_GROWTH)
}

/** The geometric middle: as far from one end as from the other, by ratio. */
const middleOf = (bucket: number): number => LEAST_MS * GROWTH ** (bucket + 0.5)
