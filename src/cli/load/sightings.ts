const EXAMPLES_MAX = 5

/** What readers saw during a run. */
export class Sightings {
  /** Reads of the reader's own, and how many of them showed less than was acknowledged before. */
  own = 0
  stale = 0
  /** Reads that did not find what another wrote: allowed for as long as a lease, and those after it. */
  notYetSeen = 0
  overdue = 0
  unexpected = 0
  readonly examples: string[] = []

  /** A read of what the reader wrote. */
  sawOwn(isRight: boolean, what: string): void {
    this.own++
    if (isRight) return
    this.stale++
    this.#keep(`stale: ${what}`)
  }

  /** What another wrote is not there. `isOverdue`: it was acknowledged longer ago than a lease (`STALE_MS_MAX`). */
  missedAnothers(isOverdue: boolean, what: string): void {
    if (!isOverdue) return void this.notYetSeen++
    this.overdue++
    this.#keep(`overdue: ${what}`)
  }

  /** Something that nobody has sent. */
  sawUnexpected(what: string): void {
    this.unexpected++
    this.#keep(`unexpected: ${what}`)
  }

  #keep(what: string): void {
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(what)
  }
}
