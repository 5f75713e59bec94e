import { connectionLost } from '../support/sharding-doubles.ts'
import type { CallFault } from './faults.ts'
import type { Process } from './processes.ts'
import type { Scheduler } from './scheduler.ts'

/** Something that can be called: a shard, or the directory. */
export interface Place {
  name: string
  /** Until when it does not answer (true time, ms). */
  unavailableUntil: number
  /** Calls that it has received and not answered. A restart loses them. */
  pending: Set<() => void>
}

export const newPlace = (name: string): Place => ({ name, unavailableUntil: 0, pending: new Set() })

export interface Trip {
  from: Process
  to: Place
  fault: CallFault | null
  /** How long each direction takes (ms), without faults. */
  delay(): number
}

/** A delayed call arrives in the middle of later work, or after whole moves have come and gone. */
const heldMs = (scheduler: Scheduler): number => scheduler.between(10, scheduler.pick([150, 600, 25_000]))

/** Usually short, sometimes long enough for a lease to expire. */
const slowMs = (scheduler: Scheduler): number => scheduler.between(40, scheduler.pick([300, 300, 1_200, 1_200, 12_000]))

/** One round trip. `arrive` has the effect. Its return value or error is the answer, unless the answer is lost. */
export function travel<T>(
  scheduler: Scheduler,
  trip: Trip,
  late: (isOnTheWay: 1 | -1) => void,
  arrive: () => T | Promise<T>,
): Promise<T> {
  const { from, to, fault, delay } = trip
  return new Promise<T>((resolve, reject) => {
    const answer = (run: () => void) => scheduler.after(delay(), () => from.receive(run))
    const lose = () => answer(() => reject(connectionLost()))
    const lateMs = fault === 'slow' ? slowMs(scheduler) : 0
    if (fault === 'crash') {
      // Its last call may never have left, may still arrive, or may arrive much later.
      from.die()
      const fate = scheduler.below(3)
      if (fate === 0) return
      if (fate === 1) return void scheduler.after(delay(), () => void attempt(arrive))
      return hold(scheduler, late, arrive)
    }
    if (fault === 'freeze') from.freeze(scheduler.between(30, scheduler.pick([200, 1_000, 9_000])))
    if (fault === 'held back') {
      lose()
      return hold(scheduler, late, arrive)
    }
    scheduler.after(delay() + lateMs, async () => {
      if (fault === 'failed before' || to.unavailableUntil > scheduler.now()) return lose()
      const restart = () => lose()
      to.pending.add(restart)
      const outcome = await attempt(arrive)
      if (!to.pending.delete(restart)) return
      if (fault === 'answer lost') return lose()
      answer(() => ('value' in outcome ? resolve(outcome.value) : reject(outcome.error)))
    })
  })
}

function hold(scheduler: Scheduler, late: (isOnTheWay: 1 | -1) => void, arrive: () => unknown): void {
  late(1)
  scheduler.after(heldMs(scheduler), () => {
    late(-1)
    void attempt(async () => arrive())
  })
}

/** Drops the calls that it has not answered. */
export function restart(place: Place): void {
  for (const lose of place.pending) lose()
  place.pending.clear()
}

async function attempt<T>(body: () => T | Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await body() }
  } catch (error) {
    return { error }
  }
}
