const EXAMPLES_MAX = 5

/** What readers saw during a run. */
export class Sightings {
  /** Reads of one’s own, and how many of them showed less than was acknowledged before. */
  own = 0
  stale = 0
  /** Reads of another's new post that didn't find it yet: allowed for as long as a lease; and those that didn't later. */
  notYetSeen = 0
  overdue = 0
  unexpected = 0
  readonly examples: string[] = []

  /** A writer's read of his own. */
  sawOwn(isRight: boolean, what: string): void {
    this.own++
    if (isRight) return
    this.stale++
    this.#keep(`stale: ${what}`)
  }

  /** Another's post that isn't there, so long after it was acknowledged. */
  missedAnothers(isOverdue: boolean, what: string): void {
    if (!isOverdue) return void this.notYetSeen++
    this.overdue++
    this.#keep(`overdue: ${what}`)
  }

  /** What nobody has sent. */
  sawUnexpected(what: string): void {
    this.unexpected++
    this.#keep(`unexpected: ${what}`)
  }

  #keep(what: string): void {
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(what)
  }
}
