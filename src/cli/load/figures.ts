import type { Clock, Ended } from './client.ts'
import { Histogram } from './histogram.ts'
import type { DrawnRequest } from './mix.ts'

/** Figures since the previous tick, and the requests in flight now. */
export interface Tick {
  /** Time since the load started. */
  seconds: number
  /** Requests that ended, with any outcome. */
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  failed: number
  retries: number
  dropped: number
  inFlight: number
}

export interface KindFigures {
  /** The kind's name, or `all`. */
  kind: string
  n: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  failed: number
}

interface Sums {
  times: Histogram
  failed: number
}

const newSums = (): Sums => ({ times: new Histogram(), failed: 0 })

/** Counts a run's requests. Times run from the planned start to the last answer, including waits and retries. */
export class Figures {
  readonly #clock: Clock
  readonly #sums: Map<string, Sums>
  readonly failures = new Map<string, number>()
  readonly writes = { acknowledged: 0, refused: 0, unknown: 0 }
  planned = 0
  dropped = 0
  late = 0
  inFlight = 0
  retries = 0
  recovered = 0
  /** Failures with an answer or a timeout, without those of an unreachable server. */
  faults = 0
  #interval = { ...newSums(), retries: 0, dropped: 0, since: 0 }
  #startedAt = 0

  /** `kinds`: the names of the kinds of requests, in the report's order. */
  constructor(clock: Clock, kinds: string[]) {
    this.#clock = clock
    this.#sums = new Map(kinds.map((kind) => [kind, newSums()]))
  }

  begin(): void {
    this.#startedAt = this.#clock.now()
    this.#newInterval()
  }

  ended({ kind, isWrite }: DrawnRequest, ms: number, ended: Ended): void {
    const hasFailed = ended.outcome !== 'acknowledged'
    const ofKind = this.#sums.get(kind) ?? newSums()
    this.#sums.set(kind, ofKind)
    for (const sums of [ofKind, this.#interval]) {
      sums.times.add(ms)
      if (hasFailed) sums.failed++
    }
    if (isWrite) this.writes[ended.outcome]++
    if (hasFailed) this.#failed(ended)
  }

  #failed({ reason, isGone }: Ended): void {
    if (!isGone) this.faults++
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1)
  }

  /** Returns the figures since the previous tick, and starts the next interval. */
  tick(): Tick {
    const now = this.#clock.now()
    const { times, failed, retries, dropped, since } = this.#interval
    const tick = {
      seconds: (now - this.#startedAt) / 1_000,
      requestsPerSecond: times.count / Math.max(0.001, (now - since) / 1_000),
      p50Ms: times.quantile(0.5),
      p99Ms: times.quantile(0.99),
      failed,
      retries: this.retries - retries,
      dropped: this.dropped - dropped,
      inFlight: this.inFlight,
    }
    this.#newInterval()
    return tick
  }

  byKind(): KindFigures[] {
    return [...this.#sums].map(([kind, sums]) => figuresOf(kind, sums))
  }

  ofAll(): KindFigures {
    const all = newSums()
    for (const { times, failed } of this.#sums.values()) {
      all.times.addAll(times)
      all.failed += failed
    }
    return figuresOf('all', all)
  }

  #newInterval(): void {
    this.#interval = { ...newSums(), retries: this.retries, dropped: this.dropped, since: this.#clock.now() }
  }
}

const figuresOf = (kind: string, { times, failed }: Sums): KindFigures => ({
  kind,
  n: times.count,
  p50Ms: toTenths(times.quantile(0.5)),
  p99Ms: toTenths(times.quantile(0.99)),
  maxMs: toTenths(times.maxMs),
  failed,
})

const toTenths = (ms: number): number => Math.round(ms * 10) / 10
