import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { isBeforeCommit, type MoveRecord } from './record.ts'

/** Rows that have not yet arrived at a shard. */
export interface Arrival {
  source: string
  keyspace: Keyspace
  /** Null if unknown. */
  bytes: number | null
}

/**
 * An upper bound for the bytes of some slots: their share of the keyspace's slots at the shard, times the whole
 * database. D1 does not report bytes per keyspace, so the whole database is counted for the keyspace that moves.
 */
export const bytesOfSlots = (databaseBytes: number | null, slots: number, slotsThere: number): number | null =>
  databaseBytes === null ? null : Math.ceil((databaseBytes * slots) / Math.max(slots, slotsThere))

/** What an open move has yet to bring to the shard. Null if nothing: in a reverse, the target already has the rows. */
export function arrivalOf(move: MoveRecord, shard: string): Arrival | null {
  const { source, target, keyspace, bytesEstimated, rowsTotal, rowsCopied } = move
  if (target.id !== shard || !isBeforeCommit(move) || move.ending || move.reversals > 0) return null
  const left = rowsTotal === 0 ? 1 : 1 - Math.min(1, rowsCopied / rowsTotal)
  return { source: source.id, keyspace, bytes: bytesEstimated === null ? null : bytesEstimated * left }
}

/**
 * The most bytes that may arrive. From one source, only the larger keyspace counts, because both estimates count its
 * whole database.
 */
export function bytesArriving(arrivals: Arrival[]): number {
  const sources = new Map<string, Map<Keyspace, number>>()
  for (const { source, keyspace, bytes } of arrivals) {
    const parts = sources.get(source) ?? new Map<Keyspace, number>()
    parts.set(keyspace, (parts.get(keyspace) ?? 0) + (bytes ?? 0))
    sources.set(source, parts)
  }
  return [...sources.values()].reduce((sum, parts) => sum + Math.max(...parts.values()), 0)
}

/** Throws SHARD_LACKS_ROOM. Never refuses a shard of unknown size. */
export function refuseLackOfRoom(shard: string, bytes: number | null, arrivals: Arrival[], bytesMax: number): void {
  if (bytes === null) return
  const arriving = bytesArriving(arrivals)
  const usable = bytesMax * (1 - limits.shardBytesMargin)
  if (arriving === 0 || bytes + arriving <= usable) return
  throw new BanyanError(
    'SHARD_LACKS_ROOM',
    `${shard} has ${megabytes(bytes)}, and up to ${megabytes(arriving)} would arrive, planned and running moves included. ` +
      `Its limit is ${megabytes(bytesMax)}, of which ${limits.shardBytesMargin * 100}% stay free. ` +
      'Add a shard (npm run banyan -- shards add), choose another target, or move fewer slots. SHARD_BYTES_MAX sets the limit.',
  )
}

const megabytes = (bytes: number): string =>
  `${(bytes / 1_000_000).toLocaleString('en-US', { maximumFractionDigits: 1 })} MB`
