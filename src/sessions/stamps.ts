/** When each session was last seen live in its shard. In this isolate's memory, for clients without a stamp cookie. */
export class Stamps {
  readonly #held = new Map<string, number>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  find(sessionId: string): number | null {
    return this.#held.get(sessionId) ?? null
  }

  /** Keeps the later of two stamps. Over the limit, it drops the stamp that was kept longest ago. */
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
