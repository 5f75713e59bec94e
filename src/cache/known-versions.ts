import { limits } from '../core/limits.ts'
import type { Entry } from './entry.ts'

/** The newest version of a thing that this isolate knows. */
export interface Known {
  /** Null if the thing did not exist, or if its version is not known. */
  version: number | null
  /** When this isolate learned it. A load that begins later sees nothing older. */
  at: number
}

type Dated = Pick<Entry<unknown>, 'version' | 'at'>

/**
 * Versions that outlive their entries in memory. KV may show a value that is older than one this isolate has shown, or
 * has written. Such a value is refused by its version, or by the time of its load. The number of versions is bounded.
 * The time of a dropped one becomes the horizon: values of unknown keys are refused if they were loaded before it.
 */
export class KnownVersions {
  readonly #known = new Map<string, Known>()
  #horizon = 0

  /** Keeps the newer of two versions of a thing. */
  remember(key: string, { version, at }: Known, now: number): void {
    const known = this.#known.get(key)
    if (known && known.at > at) return
    this.#known.delete(key)
    this.#known.set(key, { version, at })
    this.#shrink(now)
  }

  find(key: string): Known | null {
    return this.#known.get(key) ?? null
  }

  /** True if an entry from KV may be used, because it is not older than what this isolate knows. */
  admitsCopy(entry: Dated, known: Known | null): boolean {
    if (!known) return entry.at > this.#horizon
    if (entry.version !== null && known.version !== null) return entry.version >= known.version
    return entry.at - limits.cacheClockSkewMs > known.at // the other isolate's clock may differ
  }

  /** True if a value that this isolate has just loaded may be used. Its load may have begun before a newer write. */
  admitsLoad(entry: Dated, known: Known | null): boolean {
    if (!known || entry.at > known.at) return true
    return entry.version !== null && known.version !== null && entry.version >= known.version
  }

  /** No value is used that is older than `cacheAgeMsMax`, so versions beyond that age are dropped without a horizon. */
  #shrink(now: number): void {
    for (const [key, { at }] of this.#known) {
      const isTooOld = at < now - limits.cacheAgeMsMax - limits.cacheClockSkewMs
      if (!isTooOld && this.#known.size <= limits.cacheVersionsMax) return
      this.#known.delete(key)
      if (!isTooOld) this.#horizon = Math.max(this.#horizon, at + limits.cacheClockSkewMs)
    }
  }
}
