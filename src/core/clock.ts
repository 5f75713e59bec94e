/** Time as an argument, so that tests and the simulation decide it. */
export interface Clock {
  /**
   * Milliseconds since the epoch. On Workers it stands still between I/O. That is fine for leases, which are checked
   * after I/O.
   */
  now(): number
  /** Resolves after `ms` milliseconds. If `signal` is aborted first, it never resolves and leaves no timer behind. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `late` after `ms` milliseconds, unless the returned function is called first. Cheaper than `sleep`. */
  timer?(ms: number, late: () => void): () => void
}

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return
      const timer = setTimeout(resolve, ms)
      signal?.addEventListener('abort', () => clearTimeout(timer))
    }),
  timer(ms, late) {
    const timer = setTimeout(late, ms)
    return () => clearTimeout(timer)
  },
}

/**
 * Every wait for something outside the isolate uses this. Resolves like `work`, or rejects with `late()` after `ms`
 * milliseconds. It cannot cancel the work: a write without an answer in time may still be applied.
 */
export async function inTime<T>(clock: Clock, ms: number, work: Promise<T>, late = noAnswerIn(ms)): Promise<T> {
  const tooLate = Promise.withResolvers<never>()
  const cancel = startTimer(clock, Math.max(0, ms), () => tooLate.reject(late()))
  try {
    return await Promise.race([work, tooLate.promise])
  } finally {
    cancel()
  }
}

/** Uses the clock's `timer` if it has one. In workerd, that saves 8 of 11 µs for every call of a shard and of KV. */
function startTimer(clock: Clock, ms: number, late: () => void): () => void {
  if (clock.timer) return clock.timer(ms, late)
  const settled = new AbortController()
  void clock.sleep(ms, settled.signal).then(late)
  return () => settled.abort('settled') // without a reason, the runtime creates an exception with a stack for every call
}

const noAnswerIn = (ms: number) => () => new Error(`no answer within ${Math.max(0, Math.round(ms))} ms`)

/**
 * How long one invocation (a request, a batch of a queue, a run of the cron) may make calls. No call starts after its
 * end, and a running call has its own limit. So an invocation takes at most its budget plus one call's limit.
 */
export class TimeBudget {
  readonly #clock: Clock
  #endsAt: number

  constructor(clock: Clock, ms: number) {
    this.#clock = clock
    this.#endsAt = clock.now() + ms
  }

  get leftMs(): number {
    return Math.max(0, this.#endsAt - this.#clock.now())
  }

  get isSpent(): boolean {
    return this.leftMs === 0
  }

  /** Runs work that does not count, such as reading a client's body. */
  async uncounted<T>(work: Promise<T>): Promise<T> {
    const { leftMs } = this
    const result = await work
    this.restart(leftMs)
    return result
  }

  /** Sets a new budget, for the work after the response. */
  restart(ms: number): void {
    this.#endsAt = this.#clock.now() + ms
  }
}

/** RFC 3339 in UTC with milliseconds. Every time on the wire has this form. */
export const rfc3339 = (ms: number): string => new Date(ms).toISOString()
