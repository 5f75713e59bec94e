import { slotText } from '../core/ids.ts'
import { present } from '../core/present.ts'
import { zip } from '../core/zip.ts'
import { countsOf, type ShardState, SLOT_COUNT } from '../sharding/shard-map.ts'
import type { SlotRange } from './record.ts'

export interface PlannedShard {
  id: string
  state: ShardState
  /** The weight of one of its slots: 1 to balance slots, or its bytes per slot to balance bytes. */
  slotWeight: number
  /** Takes no slots, because it is kept for another keyspace. */
  isReserved?: boolean
}

export interface SlotTable {
  /** The owner of each slot, as an index of `shards`, after the running moves have ended. */
  owners: Uint16Array
  /** Slots that another move holds. The plan does not move them. */
  held: Uint8Array
}

/** A move in a plan. It becomes a record when it is carried out. */
interface SlotTransfer {
  source: string
  target: string
  ranges: SlotRange[]
}

export interface Plan {
  moves: SlotTransfer[]
  /** Slots that should also move but are held by open moves. */
  held: number
}

export interface Aim {
  /** How far a shard may stay from the mean, as a fraction of it. 0 balances as evenly as slots allow. */
  tolerance: number
  /** The only shard that gives slots away; it gives all. Null: every shard above its share gives slots. */
  drained: string | null
}

/**
 * Moves the fewest slots that bring every serving shard within the tolerance. A greedy pairing of shards with too many
 * slots and shards with too few keeps the moves few (at most givers + takers − 1). A draining shard gives all its
 * slots. Read-only and restoring shards do not take part. Shards are visited in the order of `shards`, so equal input
 * gives an equal plan.
 */
export function planMoves(shards: PlannedShard[], { owners, held }: SlotTable, aim: Aim): Plan {
  const counted = zip(shards, countsOf(owners, shards.length)).map(([shard, count], index) => ({ index, shard, count }))
  const loads = wantedCounts(counted, aim)
  const givers = loads.map(({ count, wanted, ...load }) => ({ ...load, slots: Math.max(0, count - wanted) }))
  const takers = loads.map(({ count, wanted, ...load }) => ({ ...load, slots: Math.max(0, wanted - count) }))
  const free = new FreeSlots(owners, held, shards.length)
  const plan: Plan = { moves: [], held: 0 }
  for (const { giver, taker, slots } of paired(givers, takers)) {
    const ranges = free.take(giver.index, taker.index, slots)
    const taken = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
    plan.held += slots - taken
    if (taken === 0) continue
    plan.moves.push({ source: giver.shard.id, target: taker.shard.id, ranges: textsOf(ranges) })
  }
  return plan
}

/**
 * Moves every slot of the sources to the target, with one move per source. `sources` and `target` are indexes of
 * `shards`.
 */
export function planGathering(
  shards: Pick<PlannedShard, 'id'>[],
  { owners, held }: SlotTable,
  { sources, target }: { sources: ReadonlySet<number>; target: number },
): Plan {
  const spans = new Map<number, Span[]>()
  let heldSlots = 0
  owners.forEach((owner, slot) => {
    if (owner === target || !sources.has(owner)) return
    if (held[slot] !== 0) {
      heldSlots++
      return
    }
    const own = spans.get(owner) ?? []
    const last = own.at(-1)
    if (last && last[1] === slot - 1) last[1] = slot
    else own.push([slot, slot])
    spans.set(owner, own)
  })
  const idOf = (index: number) => present(shards[index], 'a shard of the plan').id
  const moves = [...spans].map(([source, own]) => ({
    source: idOf(source),
    target: idOf(target),
    ranges: textsOf(own),
  }))
  return { moves, held: heldSlots }
}

/** A shard, its number of slots, and the number it should have in the end. */
interface ShardLoad {
  index: number
  shard: PlannedShard
  count: number
  wanted: number
}

/** The number of slots that each shard should have in the end. */
function wantedCounts(counted: Omit<ShardLoad, 'wanted'>[], { tolerance, drained }: Aim): ShardLoad[] {
  const isEmptied = ({ state, id }: PlannedShard) => (drained === null ? state === 'draining' : id === drained)
  const unchanged = counted.map((load) => ({ ...load, wanted: load.count }))
  const loads = counted.map((load) => ({ ...load, wanted: isEmptied(load.shard) ? 0 : load.count }))
  const takers = loads.filter(({ shard }) => shard.state === 'serving' && !shard.isReserved && shard.id !== drained)
  if (takers.length === 0) return unchanged
  const weightOf = ({ count, shard }: ShardLoad) => count * shard.slotWeight
  const extra = loads.reduce((sum, load) => sum + (isEmptied(load.shard) ? weightOf(load) : 0), 0)
  // To empty one shard, no other shard has to give slots.
  const reach = drained === null ? tolerance : Number.POSITIVE_INFINITY
  const levels = zip(takers, levelled(takers.map(weightOf), extra, reach))
  const isBySlots = loads.every(({ shard }) => shard.slotWeight === 1)
  if (isBySlots) {
    const whole = rounded(levels.map(([{ count }, exact]) => ({ exact, rank: count })))
    for (const [taker, slots] of zip(takers, whole)) taker.wanted = slots
    return loads
  }
  for (const [taker, level] of levels) {
    const given = Math.max(0, weightOf(taker) - level)
    if (given > 0) taker.wanted = taker.count - Math.floor(given / taker.shard.slotWeight)
  }
  const given = loads.reduce((sum, { count, wanted }) => sum + count - wanted, 0)
  const lacks = levels.map(([taker, level]) => Math.max(0, level - weightOf(taker)))
  const all = lacks.reduce((sum, lack) => sum + lack, 0)
  if (all === 0) return unchanged
  const taken = rounded(lacks.map((lack) => ({ exact: (given * lack) / all, rank: lack })))
  for (const [taker, slots] of zip(takers, taken)) taker.wanted += slots
  return loads
}

/** Rounds to whole numbers with the same sum: all down, then up for those with the highest rank. */
function rounded(shares: { exact: number; rank: number }[]): number[] {
  const down = shares.map(({ exact, rank }, place) => ({ exact, rank, place, whole: Math.floor(exact + ROUNDING) }))
  const total = Math.round(shares.reduce((sum, { exact }) => sum + exact, 0))
  const left = total - down.reduce((sum, { whole }) => sum + whole, 0)
  const fractional = down
    .filter(({ exact, whole }) => exact - whole > ROUNDING)
    .sort((a, b) => b.rank - a.rank || a.place - b.place)
  for (const share of fractional.slice(0, left)) share.whole++
  return down.map(({ whole }) => whole)
}

/** Larger than the error that bisecting leaves of 65,536. */
const ROUNDING = 1e-6

/** Moves the loads within the tolerance of their mean, which includes `extra`, changing as little as possible. */
export function levelled(loads: number[], extra: number, tolerance: number): number[] {
  const total = loads.reduce((sum, load) => sum + load, extra)
  // A mean of zero has no tolerance.
  if (total === 0) return loads
  const mean = total / loads.length
  const clamp = (low: number, high: number) => loads.map((load) => Math.min(high, Math.max(low, load)))
  const sum = (values: number[]) => values.reduce((all, value) => all + value, 0)
  let low = mean * Math.max(0, 1 - tolerance)
  // Finite for any tolerance, and never below the mean, because a sixth added six times may round to more than the
  // total.
  let high = Math.max(mean, Math.min(mean * (1 + tolerance), Math.max(...loads)))
  // If more is wanted than there is, the highest loads give more. Otherwise the lowest take more. The mean lies
  // between, so both searches end.
  if (sum(clamp(low, high)) > total) high = bisect(mean, high, (x) => sum(clamp(low, x)) - total)
  else low = bisect(low, mean, (x) => sum(clamp(x, high)) - total)
  return clamp(low, high)
}

const BISECTIONS = 60

/** Where a rising function crosses zero between two points. */
function bisect(from: number, to: number, at: (x: number) => number): number {
  let [low, high] = [from, to]
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (low + high) / 2
    if (at(middle) > 0) high = middle
    else low = middle
  }
  return (low + high) / 2
}

interface Share extends Pick<ShardLoad, 'index' | 'shard'> {
  slots: number
}

/** Pairs the largest giver with the largest taker until one side is empty. Each pair empties one of the two. */
function* paired(givers: Share[], takers: Share[]): Generator<{ giver: Share; taker: Share; slots: number }> {
  const most = (shares: Share[]) => shares.reduce((best, share) => (share.slots > best.slots ? share : best))
  const giving = givers.filter(({ slots }) => slots > 0)
  const taking = takers.filter(({ slots }) => slots > 0)
  if (giving.length === 0 || taking.length === 0) return
  for (;;) {
    const giver = most(giving)
    const taker = most(taking)
    const slots = Math.min(giver.slots, taker.slots)
    if (slots <= 0) return
    giver.slots -= slots
    taker.slots -= slots
    yield { giver, taker, slots }
  }
}

type Span = [first: number, last: number]

const textsOf = (spans: Span[]): SlotRange[] => spans.map(([first, last]) => [slotText(first), slotText(last)])

/** Takes slots in long pieces, so that the map keeps few runs. */
class FreeSlots {
  readonly #owners: Uint16Array
  /** The free slots of each shard, in order. */
  readonly #spans: Span[][]

  constructor(owners: Uint16Array, held: Uint8Array, shards: number) {
    this.#owners = owners.slice()
    this.#spans = Array.from({ length: shards }, () => [])
    owners.forEach((owner, slot) => {
      if (held[slot] !== 0) return
      const spans = this.#spansOf(owner)
      const last = spans.at(-1)
      if (last && last[1] === slot - 1) last[1] = slot
      else spans.push([slot, slot])
    })
  }

  /** Takes up to `count` free slots from the giver for the taker. They are not moved again. */
  take(giver: number, taker: number, count: number): Span[] {
    const taken: Span[] = []
    for (let left = count; left > 0; ) {
      const span = this.#best(giver, taker, left)
      if (!span) break
      taken.push(span)
      this.#owners.fill(taker, span[0], span[1] + 1)
      this.#remove(giver, span)
      left -= span[1] - span[0] + 1
    }
    return taken.sort(([a], [b]) => a - b)
  }

  /**
   * Prefers a piece that extends a run of the taker. Otherwise, the end of the smallest run that has enough slots;
   * otherwise, the longest run.
   */
  #best(giver: number, taker: number, count: number): Span | null {
    const spans = this.#spansOf(giver)
    const cutFrom = ([first, last]: Span): Span => [Math.max(first, last - count + 1), last]
    for (const span of spans) {
      if (span[1] + 1 < SLOT_COUNT && this.#owners[span[1] + 1] === taker) return cutFrom(span)
      if (span[0] > 0 && this.#owners[span[0] - 1] === taker) return [span[0], Math.min(span[1], span[0] + count - 1)]
    }
    const length = ([first, last]: Span) => last - first + 1
    const bySize = spans.toSorted((a, b) => length(a) - length(b) || a[0] - b[0])
    const enough = bySize.find((span) => length(span) >= count) ?? bySize.at(-1)
    return enough ? cutFrom(enough) : null
  }

  #spansOf(shard: number): Span[] {
    return present(this.#spans[shard], 'the free slots of a shard')
  }

  #remove(giver: number, [first, last]: Span): void {
    this.#spans[giver] = this.#spansOf(giver).flatMap((span): Span[] => {
      if (last < span[0] || first > span[1]) return [span]
      const rest: Span[] = [
        [span[0], first - 1],
        [last + 1, span[1]],
      ]
      return rest.filter(([from, to]) => from <= to)
    })
  }
}
