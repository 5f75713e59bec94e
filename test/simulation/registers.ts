/** One write of something, as its client knows of it. `null` is a deletion. */
export interface Write {
  value: string | null
  startedAt: number
  /** When its client was told that it is done; null: it wasn't told, or told that nobody knows. */
  ackedAt: number | null
  /** False once its client was told that nothing was written. */
  mayHaveHappened: boolean
}

/**
 * What one row may hold, by the history of its writes. Writes of a row follow one another (each waits for its answer), but one
 * whose answer was lost may still come, at any later time.
 */
export class Register {
  readonly id: string
  readonly writes: Write[] = []

  constructor(id: string) {
    this.id = id
  }

  begin(value: string | null, now: number): Write {
    const write: Write = { value, startedAt: now, ackedAt: null, mayHaveHappened: true }
    this.writes.push(write)
    return write
  }

  /** What a read may find that began at `readAt`, is over now, and may be `staleMs` behind. */
  allowed(readAt: number, staleMs: number): Set<string | null> {
    const firm = this.writes.findLast(({ ackedAt }) => ackedAt !== null && ackedAt <= readAt - staleMs)
    const allowed = new Set<string | null>([firm ? firm.value : null])
    for (const write of this.writes) {
      if (write === firm || !write.mayHaveHappened) continue
      if (write.ackedAt === null || write.ackedAt > readAt - staleMs) allowed.add(write.value)
      // A deletion that may have come makes later edits meet nothing.
    }
    if (
      this.writes.some(({ value, mayHaveHappened, ackedAt }) => value === null && mayHaveHappened && ackedAt === null)
    )
      allowed.add(null)
    return allowed
  }

  get isSureToExist(): boolean {
    return !this.allowed(Number.POSITIVE_INFINITY, 0).has(null)
  }
}
