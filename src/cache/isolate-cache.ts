import type { Cache as SharedLoads } from '@epic-web/cachified'
import { systemClock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import { KnownVersions } from './known-versions.ts'
import { Memory } from './memory.ts'

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
   * What `cachified` keeps its shared loads by. It reads only the entry that serves if a load fails. It writes nothing,
   * because a load keeps its own entry.
   */
  readonly loads: SharedLoads
  readonly #refreshing = new Map<string, number>()

  constructor(now: () => number, bytesMax: number = limits.cacheMemoryBytesMax) {
    this.memory = new Memory(bytesMax, (key, entry) => this.versions.remember(key, entry, now()))
    this.loads = {
      get: (key) => {
        const entry = this.memory.peek(key)?.entry
        if (!entry || entry.value === null) return null
        return { value: entry, metadata: { createdTime: systemClock.now() - (now() - entry.at) } } // it compares with the system's clock
      },
      set: () => undefined,
      delete: () => undefined,
    }
  }

  /** True if no refresh of this key runs. One that was abandoned with its request counts for a few seconds only. */
  startsRefresh(key: string, now: number): boolean {
    const since = this.#refreshing.get(key)
    if (since !== undefined && now - since < limits.cacheReadMs) return false
    this.#refreshing.set(key, now)
    return true
  }

  endRefresh(key: string): void {
    this.#refreshing.delete(key)
  }
}
