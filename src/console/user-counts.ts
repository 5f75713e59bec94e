import { slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { quotedName } from '../core/sql-text.ts'
import { type ShardMap, spansOf } from '../sharding/shard-map.ts'

/** A shard's slots of the `users` keyspace in order: `[first, last + 1]` per range. */
export type SlotRanges = [number, number][]

export interface UserCount {
  users: number
  isEstimated: boolean
}

/** A count of a shard's first users. */
export interface UserSample {
  rows: number
  /** The slot of the last of them; null if there are no users. */
  lastSlot: string | null
  /** Users in earlier slots, which were counted completely. */
  rowsBefore: number
}

/**
 * SQL: the first users in slots `?1` (formatted by `rangesParameter`), at most `?2`, in order of the primary key.
 * `count(*)` would read every user: 370 ms per 500,000, during which the shard answers no other query.
 */
export const userSampleSql = (table: string): string => `WITH walked AS MATERIALIZED (
    SELECT substr(users.id, 1, 4) AS slot FROM json_each(?1) AS part CROSS JOIN ${quotedName(table)} AS users
      ON users.id >= part.value ->> 0 AND users.id < part.value ->> 1 LIMIT ?2),
  last AS MATERIALIZED (SELECT max(slot) AS slot FROM walked)
  SELECT (SELECT count(*) FROM walked) AS rows, slot AS lastSlot,
    (SELECT count(*) FROM walked WHERE slot < last.slot) AS rowsBefore FROM last`

/** The slots of each shard by the map, in the map's order. Rows in other slots belong to a move. */
export function userRanges(map: ShardMap): SlotRanges[] {
  const spans = Map.groupBy(spansOf(map.runs('users')), ({ shard }) => shard)
  return map.shards.map((_, shard) => (spans.get(shard) ?? []).map(({ first, after }) => [first, after]))
}

/** Ids sort between their slot's digits and the digits with `~`, which sorts after every character of an id. */
export const rangesParameter = (ranges: SlotRanges): string =>
  JSON.stringify(ranges.map(([first, after]) => [slotText(first), `${slotText(after - 1)}~`]))

/**
 * The number of users in these slots, exact if the sample has all of them. Slots are hashes of ids, so all slots have
 * about the same number of users. The completely counted slots give an estimate (2,000 rows: mostly within 5%).
 */
export function userCount({ rows, lastSlot, rowsBefore }: UserSample, ranges: SlotRanges): UserCount {
  if (lastSlot === null || rows < limits.userSampleRowsMax) return { users: rows, isEstimated: false }
  const last = Number.parseInt(lastSlot, 16)
  const slotsBefore = slotsIn(ranges.map(([first, after]) => [first, Math.min(after, last)]))
  const perSlot = slotsBefore > 0 ? rowsBefore / slotsBefore : rows
  return { users: Math.round(perSlot * slotsIn(ranges)), isEstimated: true }
}

const slotsIn = (ranges: SlotRanges): number =>
  ranges.reduce((sum, [first, after]) => sum + Math.max(0, after - first), 0)
