import type { Random } from '../../src/core/random.ts'

interface Event {
  at: number
  sequence: number
  run: () => void
  isCancelled?: boolean
}

export interface RunOptions {
  isDone: () => boolean
  /** After every event and what follows from it at once: the place for checks of what must always hold. */
  afterEach?: () => void
  eventsMax: number
}

const STARTS_AT_MS = 1_700_000_000_000

/** Resolves when no microtask is left: Node takes the next tick only then, however long a chain of awaits is. */
const drained = () => new Promise<void>((resolve) => process.nextTick(resolve))

/** A turn of Node's own loop. Without one, nothing but this would run: no signal, no test's timeout, no report. */
const turned = () => new Promise<void>((resolve) => setImmediate(resolve))

/**
 * Virtual time and the order of everything that happens in it. What one `random` decides, a seed replays: nothing here
 * asks the machine's clock, and events of the same time run in the order in which they were made.
 *
 * It waits for microtasks only. What resolves outside of them (`crypto.subtle`, timers, files) is no event, and would
 * come back at a time that the seed doesn't decide.
 */
export class Scheduler {
  readonly random: Random
  #now = STARTS_AT_MS
  #sequence = 0
  /** A binary heap, the earliest first. */
  readonly #events: Event[] = []

  constructor(random: Random) {
    this.random = random
  }

  /** The true time in ms, with a fraction where a wait had one. */
  now(): number {
    return this.#now
  }

  /** The answer cancels it: a cancelled event takes no time, and nothing is checked after it. */
  after(ms: number, run: () => void): () => void {
    if (!(ms >= 0 && ms < Infinity)) throw new Error(`an event can’t be ${ms} ms away`)
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
   * Runs events in the order of their time until `isDone()`; resolves with their number. What an event or `afterEach`
   * throws, it rejects with. Events that are left stay for a next run.
   */
  async run({ isDone, afterEach, eventsMax }: RunOptions): Promise<number> {
    // Who was started before goes on as far as it can, too, and makes the first events.
    await turned()
    let count = 0
    while (!isDone()) {
      const event = pop(this.#events)
      if (!event) throw new Error(`no event is left after ${count}, and it is not done: everybody waits for another`)
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

  /** A whole number from 0 to n − 1. */
  below(n: number): number {
    return Math.floor(this.random.fraction() * n)
  }

  /** A whole number from `lowest` to `highest`, both included. */
  between(lowest: number, highest: number): number {
    return lowest + this.below(highest - lowest + 1)
  }

  /** True with this probability. It draws always, so that another probability changes this decision only. */
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
