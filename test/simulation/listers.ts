import { userList } from '../../src/app/profiles/user-list.ts'
import type { ScatterOptions, ScatterPage } from '../../src/sharding/scatter.ts'
import type { ScatterQuery } from '../../src/sharding/scatter-query.ts'
import type { SortKey } from '../../src/sharding/sort-keys.ts'
import { noToken } from '../../src/web/causal-token.ts'
import { ask } from './ask.ts'
import type { History } from './clients.ts'
import type { World } from './world.ts'

/** How much of the lists a run has read. */
export interface ListCounts {
  walks: number
  /** Walks in which every shard answered every page. */
  complete: number
  users: number
}

/**
 * An operator who lists all users, page by page, each page by any isolate. A walk has no user twice.
 * If every page was complete, it has each user that was acknowledged a last lease before its start.
 */
export class Lister {
  readonly #world: World
  readonly #history: History
  /** When the lister first saw that a user was acknowledged. */
  readonly #known = new Map<string, number>()
  readonly counts: ListCounts = { walks: 0, complete: 0, users: 0 }
  isStopped = false

  constructor(world: World, history: History) {
    this.#world = world
    this.#history = history
  }

  start(): void {
    const { scheduler } = this.#world
    scheduler.after(scheduler.between(100, 500), () => void this.#live())
  }

  async #live(): Promise<void> {
    const { scheduler } = this.#world
    while (!this.isStopped) {
      await this.#walk()
      await scheduler.sleep(scheduler.between(20, 400))
    }
  }

  async #walk(): Promise<void> {
    const { scheduler, checker, staleMs } = this.#world
    this.#learn()
    const startedAt = scheduler.now()
    // Not by time, because clients change the times of their strange rows, which then change places.
    const query = userList.byHandle('')
    const limit = scheduler.between(1, 6)
    const seen = new Set<string>()
    let isComplete = true
    let cursor: SortKey | null = null
    do {
      const page: ScatterPage<{ id: string }> | null = await this.#page(query, { limit, cursor })
      if (!page) return
      isComplete &&= page.failed.length === 0
      for (const { id } of page.rows) {
        if (seen.has(id)) checker.report(`M4: a list has ${id} twice`)
        seen.add(id)
      }
      cursor = page.next
    } while (cursor)
    this.counts.walks++
    this.counts.users += seen.size
    if (!isComplete) return
    this.counts.complete++
    for (const [id, since] of this.#known)
      if (since < startedAt - staleMs && !seen.has(id)) checker.report(`M4: a complete list lacks ${id}`)
  }

  /** Null if the request failed. */
  async #page<Row>(query: ScatterQuery<Row>, options: ScatterOptions): Promise<ScatterPage<Row> | null> {
    const asking = { name: 'lister', causal: noToken, effect: null }
    const asked = await ask(this.#world, asking, ({ tiers }) => tiers.shards.scatter(query, options))
    return 'value' in asked ? asked.value : null
  }

  #learn(): void {
    const ids = [...this.#history.accounts.map(({ userId }) => userId), ...this.#history.imported.keys()]
    for (const id of ids) if (!this.#known.has(id)) this.#known.set(id, this.#world.scheduler.now())
  }
}
