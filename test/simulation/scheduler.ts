import type { Random } from '../../src/core/random.ts'

interface Event {
  at: number
  sequence: number
  run: () => void
  isCancelled?: boolean
}

export interface RunOptions {
  isDone: () => boolean
  /** Called after every event and everything that follows from it at once. Checks of permanent conditions go here. */
  afterEach?: () => void
  eventsMax: number
}

const STARTS_AT_MS = 1_700_000_000_000

/** Resolves when no microtask is left. Node takes the next tick only then, however long a chain of awaits is. */
const drained = () => new Promise<void>((resolve) => process.nextTick(resolve))

/** One turn of Node's own loop. Without it, nothing else would run: no signals, test timeouts or reports. */
const turned = () => new Promise<void>((resolve) => setImmediate(resolve))

/**
 * Virtual time, and the order of everything that happens in it. A seed replays everything that one `random` decides:
 * nothing here uses the machine's clock, and events of the same time run in the order of their creation.
 *
 * It waits for microtasks only. What resolves outside of them (`crypto.subtle`, timers, files) is not an event, and
 * would return at a time that the seed does not decide.
 */
export class Scheduler {
  readonly random: Random
  #now = STARTS_AT_MS
  #sequence = 0
  /** A binary heap, the earliest event first. */
  readonly #events: Event[] = []

  constructor(random: Random) {
    this.random = random
  }

  /** The true time in ms, possibly with a fraction. */
  now(): number {
    return this.#now
  }

  /** Returns a function that cancels the event. A cancelled event takes no time and triggers no checks. */
  after(ms: number, run: () => void): () => void {
    if (!(ms >= 0 && ms < Infinity)) throw new Error(`an event can’t be due in ${ms} ms`)
    const event: Event = { at: this.#now + ms, sequence: this.#sequence++, run }
    push(this.#events, event)
    return () => {
      event.isCancelled = true
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /**
   * Runs events in the order of their time until `isDone()`. Resolves to their number. Rejects with whatever an event
   * or `afterEach` throws. Remaining events stay for the next run.
   */
  async run({ isDone, afterEach, eventsMax }: RunOptions): Promise<number> {
    // Processes that started earlier continue as far as they can, and create the first events.
    await turned()
    let count = 0
    while (!isDone()) {
      const event = pop(this.#events)
      if (!event)
        throw new Error(`no event is left after ${count}, but the run is not done: all processes wait for each other`)
      if (event.isCancelled) continue
      if (++count > eventsMax) throw new Error(`it is not done after ${eventsMax} events`)
      this.#now = event.at
      event.run()
      await drained()
      afterEach?.()
    }
    return count
  }

  // ── draws ─────────────────────────────────────────────────────────────────────────────────────

  /** An integer from 0 to n − 1. */
  below(n: number): number {
    return Math.floor(this.random.fraction() * n)
  }

  /** An integer from `lowest` to `highest`, inclusive. */
  between(lowest: number, highest: number): number {
    return lowest + this.below(highest - lowest + 1)
  }

  /** True with this probability. It always draws, so another probability changes only this decision. */
  chance(probability: number): boolean {
    return this.random.fraction() < probability
  }

  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new Error('there is nothing to pick from')
    return choices[this.below(choices.length)]!
  }
}

const isEarlier = (one: Event, other: Event): boolean =>
  one.at < other.at || (one.at === other.at && one.sequence < other.sequence)

function push(heap: Event[], event: Event): void {
  let place = heap.length
  while (place > 0) {
    const parent = (place - 1) >> 1
    if (!isEarlier(event, heap[parent]!)) break
    heap[place] = heap[parent]!
    place = parent
  }
  heap[place] = event
}

function pop(heap: Event[]): Event | undefined {
  const first = heap[0]
  const moved = heap.pop()
  if (!moved || heap.length === 0) return first
  let place = 0
  for (;;) {
    let child = 2 * place + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isEarlier(heap[child + 1]!, heap[child]!)) child++
    if (!isEarlier(heap[child]!, moved)) break
    heap[place] = heap[child]!
    place = child
  }
  heap[place] = moved
  return first
}
