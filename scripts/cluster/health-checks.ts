export interface HealthCheckOptions {
  /** The pause between two checks of a server. */
  everyMs: number
  /** A check without an answer after this time has failed. */
  limitMs: number
  /** Resolves to true if the server is well. `signal` aborts at the time limit. */
  check(name: string, signal: AbortSignal): Promise<boolean>
  onResult(name: string, hasPassed: boolean): void
}

/** Checks each watched server repeatedly, one check at a time. */
export class HealthChecks {
  readonly #options: HealthCheckOptions
  readonly #pauses = new Map<string, NodeJS.Timeout>()
  #isStopped = false

  constructor(options: HealthCheckOptions) {
    this.#options = options
  }

  /** Starts with a check now. */
  watch(name: string): void {
    void this.#turn(name)
  }

  stop(): void {
    this.#isStopped = true
    for (const pause of this.#pauses.values()) clearTimeout(pause)
  }

  async #turn(name: string): Promise<void> {
    const hasPassed = await this.#check(name)
    if (this.#isStopped) return
    this.#options.onResult(name, hasPassed)
    this.#pauses.set(
      name,
      setTimeout(() => void this.#turn(name), this.#options.everyMs),
    )
  }

  async #check(name: string): Promise<boolean> {
    const late = new AbortController()
    const limit = setTimeout(() => late.abort(), this.#options.limitMs)
    const isLate = new Promise<boolean>((resolve) => late.signal.addEventListener('abort', () => resolve(false)))
    try {
      return await Promise.race([this.#options.check(name, late.signal), isLate])
    } finally {
      clearTimeout(limit)
    }
  }
}
