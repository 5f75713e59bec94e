import { slotText } from '../core/ids.ts'
import { type ShardEntry, type ShardMap, SLOT_COUNT, spansOf } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'

/** A set of slots in order: `[first, last + 1]` per range. */
export type SlotSpans = [number, number][]

export const allSlots: SlotSpans = [[0, SLOT_COUNT]]

/** The slots of each shard by the map, in the map's order. Rows in other slots belong to a move. Throws KEYSPACE_UNASSIGNED. */
export function spansByShard(map: ShardMap, keyspace: Keyspace): SlotSpans[] {
  const spans = Map.groupBy(spansOf(map.runs(keyspace)), ({ shard }) => shard)
  return map.shards.map((_, shard) => (spans.get(shard) ?? []).map(({ first, after }) => [first, after]))
}

/** A shard, and the slots that it is asked for. */
export interface ShardPart {
  shard: ShardEntry
  spans: SlotSpans
}

/** The shards that own some of these slots by the map, each with these slots. Together they have every slot once. */
export function partsOf(map: ShardMap, keyspace: Keyspace, slots: SlotSpans): ShardPart[] {
  const owned = spansByShard(map, keyspace)
  return map.shards
    .map((shard, index) => ({ shard, spans: commonSpans(owned[index] ?? [], slots) }))
    .filter(({ spans }) => spans.length > 0)
}

/** The slots that both sets have. */
export function commonSpans(one: SlotSpans, other: SlotSpans): SlotSpans {
  const common: SlotSpans = []
  for (let left = 0, right = 0; ; ) {
    const [a, b] = [one[left], other[right]]
    if (!a || !b) return common
    const [first, after] = [Math.max(a[0], b[0]), Math.min(a[1], b[1])]
    if (first < after) common.push([first, after])
    if (a[1] < b[1]) left++
    else right++
  }
}

/** The slots of `spans` that `taken` does not have. */
export function spansWithout(spans: SlotSpans, taken: SlotSpans): SlotSpans {
  const free: SlotSpans = []
  let start = 0
  for (const [first, after] of [...taken, [SLOT_COUNT, SLOT_COUNT] as const]) {
    if (start < first) free.push([start, first])
    start = after
  }
  return commonSpans(spans, free)
}

/** The ranges in order, with adjacent ones joined. No two of them may overlap. */
export function joinedSpans(spans: SlotSpans): SlotSpans {
  const joined: SlotSpans = []
  for (const [first, after] of spans.toSorted(([a], [b]) => a - b)) {
    const last = joined.at(-1)
    if (last && last[1] === first) last[1] = after
    else joined.push([first, after])
  }
  return joined
}

export const slotsIn = (spans: SlotSpans): number => spans.reduce((sum, [first, after]) => sum + after - first, 0)

/**
 * The spans as JSON for SQL: pairs of texts, of which a slot's digits and its keys are at least the first and less than
 * the second. `~` sorts after every character of an id.
 */
export const spansParameter = (spans: SlotSpans): string =>
  JSON.stringify(spans.map(([first, after]) => [slotText(first), `${slotText(after - 1)}~`]))

/** `slot`: four hex digits. */
export const hasSlot = (spans: SlotSpans, slot: string): boolean => {
  const number = Number.parseInt(slot, 16)
  return spans.some(([first, after]) => first <= number && number < after)
}
