import { setTimeout as sleep } from 'node:timers/promises'
import { openLoop } from '../../src/cli/load/open-loop.ts'

export interface SteadyLoad {
  /** Requests per second. */
  rate: number
  /** The number of requests. */
  count: number
  /** The maximum number of unanswered requests. Above it, requests are skipped. */
  inFlightMax: number
  isOver?(): boolean
  /** Sends a request. `number` counts from 0. */
  request(number: number): Promise<void>
}

/** Starts requests at a steady rate, even if earlier ones are unanswered. Resolves when all have ended. */
export async function steadyLoad({ rate, count, inFlightMax, isOver, request }: SteadyLoad): Promise<void> {
  let started = 0
  await openLoop({
    rate,
    clock: { now: Date.now, sleep: async (ms) => void (await sleep(ms)), timeout: AbortSignal.timeout },
    most: count,
    inFlightMax,
    isOver: isOver ?? (() => false),
    start: () => request(started++),
    counts: { planned: 0, dropped: 0, late: 0, inFlight: 0 },
  })
}
