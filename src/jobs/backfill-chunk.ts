import { slotOf, slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { rowsOf } from '../sharding/named-batch.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { ownedHere, type Shards } from '../sharding/shards.ts'

/**
 * A change of all rows of a table whose primary key is `id`, in small steps: `UPDATE table SET set WHERE where`. The
 * engine adds the range of keys, and the condition that the row's slot takes writes in this shard.
 */
export interface Backfill {
  /** Unique across nouns: lowercase letters, digits and hyphens. */
  name: string
  table: string
  /** Default: users. */
  keyspace?: Keyspace
  /** SQL assignments without parameters, for example `search_name = lower(display_name)`. */
  set: string
  /**
   * The guard: SQL that is true for a row that still needs the change, and false after the change or a user's write.
   * For example `search_name IS NULL`.
   */
  where: string
}

/** Where a range continues: behind the key `after`, up to and including the slot `last`. */
export interface RangePosition {
  after: string
  last: string
}

/** The end of the next `?3` rows, whether they need the change or not, so that the rows that a chunk reads are bounded. */
const upperSql = ({ table }: Backfill) =>
  `SELECT id FROM ${table} WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1 OFFSET ?3 - 1`

const changeSql = (backfill: Backfill) =>
  `UPDATE ${backfill.table} SET ${backfill.set} WHERE id > ?1 AND id <= coalesce((${upperSql(backfill)}), ?2)
   AND ${ownedHere(backfill.keyspace ?? 'users', 'id')} AND (${backfill.where})`

/**
 * Changes the next rows of a range, in the consecutive slots that one shard owns. The batch is guarded for all of these
 * slots, so no row of a fenced or moved slot is passed over: the slot is waited for, or its new shard is asked. Resolves
 * to the key behind which the range continues, or null at its end. Throws if a slot takes no writes for long. May be
 * repeated.
 */
export async function changeChunk(
  shards: Shards,
  backfill: Backfill,
  { after, last }: RangePosition,
  rowsMax: number,
): Promise<{ after: string | null; isFull: boolean }> {
  const { keyspace = 'users', name } = backfill
  const slots = await slotsFrom(shards, keyspace, slotOf(after), last)
  const lastSlot = slots.at(-1) ?? last
  const { answers, failed } = await shards.group(
    slots.map((key) => ({ key })),
    { keyspace, operation: `backfills.${name}` },
    (database) => {
      const bound = (sql: string) => database.prepare(sql).bind(after, `${lastSlot}~`, rowsMax)
      return { upper: rowsOf<{ id: string }>(bound(upperSql(backfill))), change: bound(changeSql(backfill)) }
    },
  )
  for (const error of failed.values()) throw error
  // If slots have just moved, several shards answer. The range continues where the first of them stopped.
  const [upper] = answers.flatMap(({ upper }) => upper.results.map(({ id }) => id)).sort()
  if (upper !== undefined) return { after: upper, isFull: true }
  return { after: lastSlot === last ? null : slotText(Number.parseInt(lastSlot, 16) + 1), isFull: false }
}

/** `first` and the slots behind it that the same shard owns by the map. */
async function slotsFrom(shards: Shards, keyspace: Keyspace, first: string, last: string): Promise<string[]> {
  const map = await shards.map()
  const owner = map.ownerOf(keyspace, first)
  const slots: string[] = []
  for (let slot = Number.parseInt(first, 16); slots.length < limits.backfillSlotsMax; slot++) {
    const text = slotText(slot)
    if (text > last || slot > 0xffff || map.ownerOf(keyspace, text) !== owner) break
    slots.push(text)
  }
  return slots
}
