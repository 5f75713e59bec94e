/** When each session was last seen alive in its shard, in this isolate's memory: for clients that carry no stamp cookie. */
export class Stamps {
  readonly #held = new Map<string, number>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  find(sessionId: string): number | null {
    return this.#held.get(sessionId) ?? null
  }

  /** Keeps the later of two stamps; the one kept longest ago leaves when there are too many. */
  keep(sessionId: string, checkedAt: number): void {
    const latest = Math.max(checkedAt, this.#held.get(sessionId) ?? 0)
    this.#held.delete(sessionId)
    this.#held.set(sessionId, latest)
    if (this.#held.size <= this.#max) return
    const [oldest] = this.#held.keys()
    if (oldest !== undefined) this.#held.delete(oldest)
  }

  forget(sessionId: string): void {
    this.#held.delete(sessionId)
  }
}
