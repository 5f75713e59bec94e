/** One write of a row. `null` deletes it. */
export interface Write {
  readonly value: string | null
  /** When its client was told that it is done. */
  ackedAt: number | null
  /** When a shard executed it. */
  appliedAt: number | null
  /** True once its client was told that nothing was written. */
  isRefused: boolean
  /** True once its isolate was told that the disk is full. */
  isToldFull: boolean
}

export const newWrite = (value: string | null): Write => ({
  value,
  ackedAt: null,
  appliedAt: null,
  isRefused: false,
  isToldFull: false,
})

/**
 * Which values one row has had, and when. The checker is told of each write at the moment when a shard executes it, so a
 * write whose answer was lost is not in doubt: from its execution on it counts, and before it doesn't. Each judgement
 * returns what is wrong, or null.
 */
export class Register {
  readonly table: string
  readonly id: string
  /** In the order of execution. */
  readonly #applied: { at: number; value: string | null; write: Write | null }[] = []
  /** How often a write gave the row a value. */
  values = 0

  constructor(table: string, id: string) {
    this.table = table
    this.id = id
  }

  /** What the row must hold now. */
  get value(): string | null {
    return this.#applied.at(-1)?.value ?? null
  }

  /** A shard executed the write, and `value` stands there now. `write` is null where no client asked for it. */
  apply(write: Write | null, value: string | null, at: number): string | null {
    this.#applied.push({ at, value, write })
    if (value !== null) this.values++
    if (!write) return null
    if (write.appliedAt !== null) return `M3: one write of ${this.id} was applied twice`
    write.appliedAt = at
    if (write.isRefused)
      return `M3: a write of ${this.id} was applied after its client was told that nothing was written`
    return value === write.value ? null : `M3: ${this.id} was written as ${text(write.value)}, and is ${text(value)}`
  }

  /** Its client was told that the write, begun at `startedAt`, is done. */
  acknowledge(write: Write, startedAt: number, now: number): string | null {
    write.ackedAt = now
    if (write.appliedAt !== null) return null
    // A deletion of a row that isn't there changes nothing.
    const changesNothing = write.value === null && this.allowed(startedAt).has(null)
    return changesNothing ? null : `M3: a write of ${this.id} was acknowledged, and was never applied`
  }

  /** Its client was told that nothing was written. */
  refuse(write: Write): string | null {
    write.isRefused = true
    return write.appliedAt === null
      ? null
      : `M3: a write of ${this.id} was applied, and its client was told that it wasn’t`
  }

  /** The values that the row had at some moment since `from`. */
  allowed(from: number): Set<string | null> {
    const next = this.#applied.findIndex(({ at }) => at > from)
    if (next < 0) return new Set([this.value])
    const before = next === 0 ? null : this.#applied[next - 1]!.value
    return new Set([before, ...this.#applied.slice(next).map(({ value }) => value)])
  }

  /**
   * From when on a read that began at `readAt` must know the row: it may be `staleMs` behind, and where `isOwn` it may miss
   * no write that its client had been told of.
   */
  knownFrom(readAt: number, staleMs: number, isOwn: boolean): number {
    if (!isOwn) return readAt - staleMs
    const told = this.#applied.findLast(({ write }) => write && write.ackedAt !== null && write.ackedAt <= readAt)
    return Math.max(readAt - staleMs, told?.at ?? 0)
  }
}

const text = (value: string | null): string => JSON.stringify(value?.slice(0, 80) ?? null)
