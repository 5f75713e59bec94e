import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { LaneRow, MoveTable } from './move-table.ts'
import type { MoveRecord } from './record.ts'

export interface LanesOptions {
  table: MoveTable
  clock: Clock
  /** Until when (ms) a planned move must wait for the last lease on its target. 0 or a past time means no wait. */
  leasesEnd: (move: MoveRecord) => number
}

interface Offer {
  id: string
  number: number
  isDue: boolean
  until: number
}

/**
 * Decides which move gets a free lane. A shard has one lane. A move takes the lanes of both its shards at once or none,
 * so a waiting move never holds what another waits for. The rule:
 *
 * 1. Settled moves (`settling` with its time over, or `purging` without lanes) come before planned ones. Among them,
 *    the one that settled first and finds both its lanes free is next. While one waits for a shard's lane, no planned move
 *    takes that lane, even if the settled one cannot start because its other lane is held.
 * 2. Then comes the oldest planned move that finds both its lanes free. A move that does not fit blocks no other.
 *
 * No move waits forever. A move settles once and purges a bounded number of rows, so settled moves finish. Planned
 * moves are finite, and each starts once. No move polls. When a lane becomes free, the moves that can start are chosen
 * here and woken.
 */
export class Lanes {
  readonly #options: LanesOptions
  /**
   * The move that was chosen for a shard's lane and woken, kept until it can take the lane. In memory only. If an offer
   * is lost or expired, the first move that asks gets the lane. The same rules apply, except for the order of age.
   */
  readonly #offers = new Map<string, Offer>()
  readonly #freed = new Set<string>()
  #added: LaneRow[] = []

  constructor(options: LanesOptions) {
    this.#options = options
  }

  /** True if this move, which asks, may take both lanes now. */
  areFreeFor({ id, state, source, target }: MoveRecord): boolean {
    const { table, clock } = this.#options
    const isDue = state !== 'planned'
    return [source, target].every((shard) => {
      const holder = table.laneHolder(shard.id)
      if (holder && table.get(holder.number).id !== id) return false
      const offer = this.#offer(shard.id, isDue)
      return (!offer || offer.id === id) && (isDue || !table.hasDue(shard.id, clock.now()))
    })
  }

  took({ source, target }: MoveRecord): void {
    for (const { id } of [source, target]) this.#offers.delete(id)
  }

  /** Notes that other moves may now start at these shards. */
  freed({ id, source, target }: MoveRecord): void {
    for (const shard of [source, target]) {
      this.#freed.add(shard.id)
      if (this.#offers.get(shard.id)?.id === id) this.#offers.delete(shard.id)
    }
  }

  added(number: number, { source, target }: MoveRecord): void {
    this.#added.push({ number, lane: 'planned', source: source.id, target: target.id, settlesAt: null })
  }

  /** Discards what was noted since the last choice, because it did not happen. */
  forget(): void {
    this.#freed.clear()
    this.#added = []
  }

  /** The moves that can start because of changes since the last choice. Their movers must be woken. */
  choose(): string[] {
    const freed = [...this.#freed]
    const added = this.#added
    this.forget()
    if (freed.length + added.length === 0) return []
    const { table, clock, leasesEnd } = this.#options
    const now = clock.now()
    const isHeld = remembered((shard) => table.laneHolder(shard) !== null)
    const isDueFor = remembered((shard) => table.hasDue(shard, now))
    const isOpen = (shard: string, isDue: boolean) =>
      !isHeld(shard) && !this.#offer(shard, isDue) && (isDue || !isDueFor(shard))
    const chosen = new Map<number, string>()
    const consider = ({ number, source, target }: LaneRow, isDue: boolean) => {
      if (chosen.has(number) || !isOpen(source, isDue) || !isOpen(target, isDue)) return
      const move = table.get(number)
      chosen.set(number, move.id)
      // A move that still waits for leases is told until when. The lanes stay free for the next move.
      if (!isDue && leasesEnd(move) > now) return
      const offer = { id: move.id, number, isDue, until: now + limits.moveLaneOfferMs }
      for (const shard of [source, target]) this.#offers.set(shard, offer)
    }
    if (freed.length > 0) for (const row of table.dueAt(freed, now, PAGE)) consider(row, true)
    for (let after = 0; freed.some((shard) => isOpen(shard, false)); ) {
      const rows = table.waitingAt(freed, after, PAGE)
      for (const row of rows) consider(row, false)
      const last = rows.at(-1)
      if (!last || rows.length < PAGE) break
      after = last.number
    }
    for (const row of added) consider(row, false)
    return [...chosen.values()]
  }

  /**
   * Moves that wait although both their lanes are free, for example after a lost wake-up. Chooses at most one per shard,
   * by rules 1 and 2, but those with the lowest `rank` first.
   */
  overlooked(rank: (row: LaneRow) => number): LaneRow[] {
    const now = this.#options.clock.now()
    const rows = this.#options.table.lanes()
    const isDue = ({ lane, settlesAt }: LaneRow) => lane === 'settled' && (settlesAt ?? 0) <= now
    const closed = new Set(rows.filter(({ lane }) => lane === 'held').flatMap(shardsOf))
    const fitting = (waiting: LaneRow[]) =>
      waiting
        .toSorted((a, b) => rank(a) - rank(b))
        .filter((row) => {
          if (shardsOf(row).some((shard) => closed.has(shard))) return false
          for (const shard of shardsOf(row)) closed.add(shard)
          return true
        })
    const due = rows.filter(isDue)
    const settled = fitting(due)
    for (const shard of due.flatMap(shardsOf)) closed.add(shard)
    return [...settled, ...fitting(rows.filter(({ lane }) => lane === 'planned'))]
  }

  /** The offer that binds the move that asks. An offer to a planned move does not bind a settled one. */
  #offer(shard: string, isDue: boolean): Offer | null {
    const offer = this.#offers.get(shard)
    if (!offer) return null
    const leftMs = offer.until - this.#options.clock.now()
    if (leftMs <= 0 || leftMs > limits.moveLaneOfferMs) this.#offers.delete(shard)
    else if (!isDue || offer.isDue) return offer
    return null
  }
}

/** How many waiting moves are read at once. */
const PAGE = 64

function remembered(ask: (shard: string) => boolean): (shard: string) => boolean {
  const answers = new Map<string, boolean>()
  return (shard) => {
    const known = answers.get(shard)
    if (known !== undefined) return known
    const answer = ask(shard)
    answers.set(shard, answer)
    return answer
  }
}

const shardsOf = ({ source, target }: LaneRow): [string, string] => [source, target]
