import type { Clock } from '../core/clock.ts'

const WINDOW_SECONDS = 60

/** This isolate's queries of each shard in the last minute: a ring of sixty one-second counts per shard. */
export class ShardLoad {
  readonly #clock: Clock
  readonly #rings = new Map<string, { counts: Uint32Array; second: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  count(shard: string): void {
    const ring = this.#ringAtNow(shard)
    ring.counts[ring.second % WINDOW_SECONDS]!++
  }

  /** This isolate's queries per second over the last minute. */
  queriesPerSecond(shard: string): number {
    const { counts } = this.#ringAtNow(shard)
    return Math.round((counts.reduce((sum, count) => sum + count, 0) / WINDOW_SECONDS) * 100) / 100
  }

  #ringAtNow(shard: string) {
    const now = Math.floor(this.#clock.now() / 1_000)
    const ring = this.#rings.get(shard) ?? { counts: new Uint32Array(WINDOW_SECONDS), second: now }
    this.#rings.set(shard, ring)
    const passed = Math.min(WINDOW_SECONDS, Math.max(0, now - ring.second))
    for (let second = 1; second <= passed; second++) ring.counts[(now - passed + second) % WINDOW_SECONDS] = 0
    ring.second = Math.max(now, ring.second)
    return ring
  }
}
