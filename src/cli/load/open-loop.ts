import type { Clock } from './client.ts'

/** More than this after its plan, a start is counted as late: the generator was too busy, not the server. */
const LATE_MS = 50

// After so many starts answers get their turn, also when the generator is behind its plan.
const BURST = 50

export interface OpenLoop {
  /** Requests a second. */
  rate: number
  clock: Clock
  /** How many may be planned. */
  most: number
  inFlightMax: number
  isOver(now: number): boolean
  /** Begins a request; null when there is none that may begin now. Resolves when it has ended. */
  start(plannedAt: number): Promise<void> | null
  counts: { planned: number; dropped: number; late: number; inFlight: number }
}

/**
 * Starts requests at the planned times, whether those before have been answered or not; resolves when all have ended.
 * Clients don't wait for each other: a loop that waits for answers before it sends more sends least when the server is
 * slowest, and never measures what the others would have waited ("coordinated omission"). Hence also times run from the
 * *planned* start, and what can't start, since too many are in flight, is counted as dropped.
 */
export async function openLoop({ rate, clock, most, inFlightMax, isOver, start, counts }: OpenLoop): Promise<void> {
  const running = new Set<Promise<void>>()
  let bug: unknown = null
  const startedAt = clock.now()
  for (let number = 0; number < most; number++) {
    const plannedAt = startedAt + (number * 1_000) / rate
    const aheadMs = plannedAt - clock.now()
    if (aheadMs > 0 || number % BURST === 0) await clock.sleep(Math.max(0, aheadMs))
    if (bug || isOver(plannedAt)) break
    counts.planned++
    const request = counts.inFlight < inFlightMax ? start(plannedAt) : null
    if (!request) {
      counts.dropped++
      continue
    }
    if (clock.now() - plannedAt > LATE_MS) counts.late++
    counts.inFlight++
    const ended = request
      .catch((error) => {
        bug ??= error
      })
      .finally(() => {
        counts.inFlight--
        running.delete(ended)
      })
    running.add(ended)
  }
  await Promise.all(running)
  if (bug) throw bug
}
