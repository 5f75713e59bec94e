import type { Clock } from '../../src/core/clock.ts'
import type { Scheduler } from './scheduler.ts'

/**
 * Something that computes: an isolate, an incarnation of a mover, the directory's object. It may freeze, and it may
 * die.
 */
export class Process {
  readonly name: string
  readonly clock: Clock
  /** How far its clock differs from the true time (ms). */
  skewMs = 0
  readonly #scheduler: Scheduler
  #isAlive = true
  #frozenUntil = 0
  readonly #mourners: (() => void)[] = []

  constructor(scheduler: Scheduler, name: string, skewMs = 0) {
    this.#scheduler = scheduler
    this.name = name
    this.skewMs = skewMs
    this.clock = {
      now: () => Math.floor(scheduler.now() + this.skewMs),
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          const cancel = this.after(ms, resolve)
          signal?.addEventListener('abort', cancel)
        }),
    }
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  /** Delivers something to the process. A dead process does not continue, whatever it waits for. */
  receive(run: () => void): void {
    if (!this.#isAlive) return
    const waitMs = this.#frozenUntil - this.#scheduler.now()
    if (waitMs > 0) this.#scheduler.after(waitMs, () => this.receive(run))
    else run()
  }

  /** Returns a function that cancels it. */
  after(ms: number, run: () => void): () => void {
    return this.#scheduler.after(ms, () => this.receive(run))
  }

  freeze(ms: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.#scheduler.now() + ms)
  }

  /** Called when the process dies, for callers that wait for its answer. */
  onDeath(run: () => void): void {
    this.#mourners.push(run)
  }

  die(): void {
    this.#isAlive = false
    for (const run of this.#mourners.splice(0)) run()
  }
}
