import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { isBeforeCommit, type MoveRecord } from './record.ts'

/** Rows that have yet to arrive at a shard. */
export interface Arrival {
  source: string
  keyspace: Keyspace
  /** Null: unknown. */
  bytes: number | null
}

/**
 * How many bytes some slots of a shard have, at most: their part of the keyspace's slots there, of the whole database. A
 * database does not tell how much of it belongs to which keyspace, so all of it counts for the one that moves.
 */
export const bytesOfSlots = (databaseBytes: number | null, slots: number, slotsThere: number): number | null =>
  databaseBytes === null ? null : Math.ceil((databaseBytes * slots) / Math.max(slots, slotsThere))

/** What an open move has yet to bring to the shard; null: nothing. A reverse finds its rows there. */
export function arrivalOf(move: MoveRecord, shard: string): Arrival | null {
  const { source, target, keyspace, bytesEstimated, rowsTotal, rowsCopied } = move
  if (target.id !== shard || !isBeforeCommit(move) || move.ending || move.reversals > 0) return null
  const left = rowsTotal === 0 ? 1 : 1 - Math.min(1, rowsCopied / rowsTotal)
  return { source: source.id, keyspace, bytes: bytesEstimated === null ? null : bytesEstimated * left }
}

/** At most so many bytes arrive. From one source that is the larger keyspace's part: its database counts once. */
export function bytesArriving(arrivals: Arrival[]): number {
  const sources = new Map<string, Map<Keyspace, number>>()
  for (const { source, keyspace, bytes } of arrivals) {
    const parts = sources.get(source) ?? new Map<Keyspace, number>()
    parts.set(keyspace, (parts.get(keyspace) ?? 0) + (bytes ?? 0))
    sources.set(source, parts)
  }
  return [...sources.values()].reduce((sum, parts) => sum + Math.max(...parts.values()), 0)
}

/** Throws SHARD_LACKS_ROOM. A shard whose size is unknown is not refused. */
export function refuseLackOfRoom(shard: string, bytes: number | null, arrivals: Arrival[], bytesMax: number): void {
  if (bytes === null) return
  const arriving = bytesArriving(arrivals)
  const usable = bytesMax * (1 - limits.shardBytesMargin)
  if (arriving === 0 || bytes + arriving <= usable) return
  throw new BanyanError(
    'SHARD_LACKS_ROOM',
    `${shard} has ${megabytes(bytes)}, and up to ${megabytes(arriving)} would arrive, planned and running moves included. ` +
      `Its limit is ${megabytes(bytesMax)}, of which ${limits.shardBytesMargin * 100}% stay free. ` +
      'Add a shard (banyan shards add), choose another target, or move fewer slots. SHARD_BYTES_MAX sets the limit.',
  )
}

const megabytes = (bytes: number): string =>
  `${(bytes / 1_000_000).toLocaleString('en-US', { maximumFractionDigits: 1 })} MB`
