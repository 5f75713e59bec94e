/** Time that passes only when all processes wait for it. Hours of a run take milliseconds, and each run is the same. */
export class VirtualTime {
  #now = 0
  #timers: { at: number; ring: () => void }[] = []

  now = (): number => this.#now

  sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => this.#timers.push({ at: this.#now + ms, ring: resolve }))

  timeout = (ms: number): AbortSignal => {
    const controller = new AbortController()
    this.#timers.push({ at: this.#now + ms, ring: () => controller.abort(new Error(`timed out after ${ms} ms`)) })
    return controller.signal
  }

  /** Lets time pass until the work is done. Throws if the work waits for something other than time. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const done = work.finally(() => {
      isDone = true
    })
    done.catch(() => undefined)
    while (!isDone) {
      await new Promise((resolve) => setImmediate(resolve))
      if (isDone) break
      const next = this.#timers.reduce((first, timer) => (timer.at < first.at ? timer : first), this.#timers[0]!)
      if (!next) throw new Error('The work is not done, and nothing waits for time.')
      this.#timers.splice(this.#timers.indexOf(next), 1)
      this.#now = Math.max(this.#now, next.at)
      next.ring()
    }
    return done
  }
}
