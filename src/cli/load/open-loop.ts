import type { Clock } from './client.ts'

/**
 * A start that is more than this behind its plan counts as late, because the generator was too busy, not the server.
 */
const LATE_MS = 50

// After this many starts, the loop yields so that answers are processed, even if it is behind its plan.
const BURST = 50

export interface OpenLoop {
  /** Requests per second. */
  rate: number
  clock: Clock
  /** Limits the number of planned requests. */
  most: number
  inFlightMax: number
  isOver(now: number): boolean
  /** Starts a request, and resolves when it has ended. Returns null if none can start now. */
  start(plannedAt: number): Promise<void> | null
  counts: { planned: number; dropped: number; late: number; inFlight: number }
}

/**
 * Starts requests at their planned times, even if earlier ones are unanswered. Resolves when all have ended. A loop
 * that waits for answers sends least when the server is slowest, and so hides the waits of independent clients
 * ("coordinated omission"). For the same reason, times run from the *planned* start, and a request that can't start
 * because too many are in flight counts as dropped.
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
