import type { Cache as SharedLoads } from '@epic-web/cachified'
import { systemClock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import { type Random, systemRandom } from '../core/random.ts'
import type { Entry } from './entry.ts'
import { type Known, KnownVersions } from './known-versions.ts'
import { type Held, Memory } from './memory.ts'

/**
 * How a read ended. `hit` and `stale`: from memory or KV. `grace`: stale, because the load failed or was slow.
 * `collapsed`: by the load of another request. `own`: not cached, because the client may have just written it.
 */
export type Outcome = 'hit' | 'stale' | 'grace' | 'miss' | 'collapsed' | 'own'

/** What an isolate keeps of the cache between requests. Losing it costs loads, never an answer. */
export class IsolateCache {
  readonly versions = new KnownVersions()
  readonly memory: Memory
  /** Reads by outcome since the isolate started. */
  readonly counts: Record<Outcome, number> = { hit: 0, stale: 0, grace: 0, miss: 0, collapsed: 0, own: 0 }
  /**
   * The cache that `cachified` gets, which also identifies its shared loads. It finds only the entry to serve if a load
   * fails. It stores nothing, because a load keeps its own entry.
   */
  readonly loads: SharedLoads
  readonly #now: () => number
  #jitter: number
  readonly #refreshing = new Map<string, number>()

  constructor(
    now: () => number,
    bytesMax: number = limits.cacheMemoryBytesMax,
    random: Pick<Random, 'fraction'> = systemRandom,
  ) {
    this.#now = now
    this.#jitter = random.fraction() // so that isolates differ
    this.memory = new Memory(bytesMax, (key, held) => this.versions.remember(key, knownOf(held), now()))
    this.loads = {
      get: (key) => {
        const entry = this.memory.peek(key)?.entry
        if (!entry || entry.value === null) return null
        return { value: entry, metadata: { createdTime: systemClock.now() - (now() - entry.at) } } // for the system's clock
      },
      set: () => undefined,
      delete: () => undefined,
    }
  }

  /** From 0 to 1, spread evenly: multiples of the golden ratio, which cost less than random numbers. */
  nextJitter(): number {
    this.#jitter = (this.#jitter + 0.618_034) % 1
    return this.#jitter
  }

  /** What is known of a key, unless the clock has stepped back since. */
  known(key: string): Known | null {
    const held = this.memory.peek(key)
    const known = held ? knownOf(held) : this.versions.find(key)
    return known && known.at <= this.#now() + limits.cacheClockSkewMs ? known : null
  }

  /** Call with what a client was shown from its own slots. Other clients must not be shown anything older afterwards. */
  learn(key: string, { version, at }: Pick<Entry<unknown>, 'version' | 'at'>): void {
    const known = this.known(key)
    if (known?.version != null && version !== null && known.version >= version) return
    // If both reads were concurrent, and one found nothing, their order is unknown. Then neither version is kept.
    const isLater = !known || at > known.at
    this.memory.delete(key)
    this.versions.remember(key, { version: isLater ? version : null, at: this.#now() }, this.#now())
  }

  /** True if no other refresh of this key is running. An abandoned one counts for a few seconds only. */
  startsRefresh(key: string, now: number): boolean {
    const since = this.#refreshing.get(key)
    if (since !== undefined && now - since < limits.cacheReadMs) return false
    this.#refreshing.set(key, now)
    return true
  }

  endRefresh(key: string, startedAt: number): void {
    if (this.#refreshing.get(key) === startedAt) this.#refreshing.delete(key)
  }
}

const knownOf = ({ entry, keptAt }: Held): Known => ({ version: entry.version, at: keptAt })
