/** One write of a row. `null` deletes the row. */
export interface Write {
  readonly value: string | null
  /** When the client was told that the write is done. */
  ackedAt: number | null
  /** When a shard executed it. */
  appliedAt: number | null
  /** True once the client was told that nothing was written. */
  isRefused: boolean
  /** True once the isolate was told that the disk is full. */
  isToldFull: boolean
}

export const newWrite = (value: string | null): Write => ({
  value,
  ackedAt: null,
  appliedAt: null,
  isRefused: false,
  isToldFull: false,
})

/** A place in the log of a shard with replicas. */
export interface LogPlace {
  shard: string
  position: number
}

interface Applied {
  at: number
  value: string | null
  write: Write | null
  place: LogPlace | null
}

/**
 * The values of one row over time. The checker reports each write when a shard executes it. A write whose answer was
 * lost is therefore not in doubt: it counts from its execution on, and not before. Each judgement returns what is
 * wrong, or null.
 */
export class Register {
  readonly table: string
  readonly id: string
  /** In the order of execution. */
  #applied: Applied[] = []
  /** Values that a promotion has taken back. Caches may still have them for a while. */
  readonly #lost: { at: number; value: string | null }[] = []
  /** How often a write set the row's value. */
  values = 0

  constructor(table: string, id: string) {
    this.table = table
    this.id = id
  }

  /** The value that the row must have now. */
  get value(): string | null {
    return this.#applied.at(-1)?.value ?? null
  }

  /** A shard executed the write, and `value` is the row's value now. `write` is null if no client requested it. */
  apply(write: Write | null, value: string | null, at: number, place: LogPlace | null = null): string | null {
    this.#applied.push({ at, value, write, place })
    if (value !== null) this.values++
    if (!write) return null
    if (write.appliedAt !== null) return `M3: one write of ${this.id} was applied twice`
    write.appliedAt = at
    if (write.isRefused)
      return `M3: a write of ${this.id} was applied after its client was told that nothing was written`
    return value === write.value ? null : `M3: ${this.id} was written as ${text(write.value)}, and is ${text(value)}`
  }

  /**
   * A promotion has taken back all executions at the shard from this position of its log on. Returns how many of them
   * had been acknowledged.
   */
  lose({ shard, position }: LogPlace, at: number): number {
    const isLost = ({ place }: Applied) => place !== null && place.shard === shard && place.position >= position
    const lost = this.#applied.filter(isLost)
    if (lost.length === 0) return 0
    this.#applied = this.#applied.filter((applied) => !isLost(applied))
    this.values -= lost.filter(({ value }) => value !== null).length
    this.#lost.push(...lost.map(({ value }) => ({ at, value })))
    return lost.filter(({ write }) => write && write.ackedAt !== null).length
  }

  /** True if everything that was ever written here was lost. */
  get isUndone(): boolean {
    return this.#applied.length === 0 && this.#lost.length > 0
  }

  /** The client was told that the write, started at `startedAt`, is done. */
  acknowledge(write: Write, startedAt: number, now: number): string | null {
    write.ackedAt = now
    if (write.appliedAt !== null) return null
    // Deleting a missing row changes nothing.
    const changesNothing = write.value === null && this.allowed(startedAt).has(null)
    return changesNothing ? null : `M3: a write of ${this.id} was acknowledged, and was never applied`
  }

  /** The client was told that nothing was written. */
  refuse(write: Write): string | null {
    write.isRefused = true
    return write.appliedAt === null
      ? null
      : `M3: a write of ${this.id} was applied, but its client was told that it was not`
  }

  /** The values that the row had at any time since `from`. */
  allowed(from: number): Set<string | null> {
    const next = this.#applied.findIndex(({ at }) => at > from)
    const lost = this.#lost.filter(({ at }) => at > from).map(({ value }) => value)
    if (next < 0) return new Set([this.value, ...lost])
    const before = next === 0 ? null : this.#applied[next - 1]!.value
    return new Set([before, ...this.#applied.slice(next).map(({ value }) => value), ...lost])
  }

  /**
   * The time from which a read that started at `readAt` must know the row. The read may be `staleMs` behind. If
   * `isOwn`, it may not miss a write that its client was told of after `since`.
   */
  knownFrom(readAt: number, staleMs: number, isOwn: boolean, since = 0): number {
    if (!isOwn) return readAt - staleMs
    const isTold = ({ ackedAt }: Write) => ackedAt !== null && ackedAt <= readAt && ackedAt >= since
    const told = this.#applied.findLast(({ write }) => write && isTold(write))
    return Math.max(readAt - staleMs, told?.at ?? 0)
  }
}

const text = (value: string | null): string => JSON.stringify(value?.slice(0, 80) ?? null)
