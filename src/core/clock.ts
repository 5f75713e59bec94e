/** Time as an argument, so that tests and the simulation decide it. */
export interface Clock {
  /** Milliseconds since the epoch. On Workers it stands still between I/O; that is fine for leases, which are checked after I/O. */
  now(): number
  /** Resolves after `ms` milliseconds. */
  sleep(ms: number): Promise<void>
}

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}

/** Resolves as the work does; rejects with `late()` after so long (ms). What was begun goes on all the same. */
export function inTime<T>(clock: Clock, ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  const tooLate = clock.sleep(ms).then(() => {
    throw late()
  })
  return Promise.race([work, tooLate])
}

/** RFC 3339 in UTC with milliseconds: the form of every time on the wire. */
export const rfc3339 = (ms: number): string => new Date(ms).toISOString()
