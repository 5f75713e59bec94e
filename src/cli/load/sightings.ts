const EXAMPLES_MAX = 5

/** Counts the results of reads during a run. */
export class Sightings {
  /** Reads of the reader's own data, and how many of them missed an earlier acknowledged write. */
  own = 0
  stale = 0
  /** Reads that missed another user's write: within the time of a lease, which is allowed, and after it. */
  notYetSeen = 0
  overdue = 0
  unexpected = 0
  readonly examples: string[] = []

  /** A read of the reader's own data. */
  sawOwn(isRight: boolean, what: string): void {
    this.own++
    if (isRight) return
    this.stale++
    this.#keep(`stale: ${what}`)
  }

  /** Another user's write is missing. `isOverdue`: it was acknowledged more than `STALE_MS_MAX` ago. */
  missedAnothers(isOverdue: boolean, what: string): void {
    if (!isOverdue) return void this.notYetSeen++
    this.overdue++
    this.#keep(`overdue: ${what}`)
  }

  /** Content that was never sent. */
  sawUnexpected(what: string): void {
    this.unexpected++
    this.#keep(`unexpected: ${what}`)
  }

  #keep(what: string): void {
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(what)
  }
}
