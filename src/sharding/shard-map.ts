import { BanyanError } from '../core/errors.ts'
import { type Keyspace, keyspaces } from './sharded-table.ts'

export const SLOT_COUNT = 65_536

export type ShardState = 'serving' | 'draining' | 'read-only' | 'restoring'

export interface ShardEntry {
  id: string // 'shard-000'
  binding: string // 'SHARD_000'
  state: ShardState
  /** A replica that has not reached this D1 bookmark may not know of slots that moved here. */
  minBookmark?: string
}

/**
 * Consecutive slots of one shard: `[first slot, shard's index]`, up to the start of the next run. RPC's types do not
 * keep tuples.
 */
export type Run = number[]

/** The map as the directory sends it. Runs are sorted, start at 0, and so cover every slot. */
export interface MapWire {
  epoch: number
  issuedAt: number // ms, taken after the directory read its storage
  shards: ShardEntry[]
  /** A map of an older version, or from before the slots of a new keyspace are assigned, lacks that keyspace. */
  runs: Partial<Record<Keyspace, Run[]>>
}

/** A map as the directory keeps it for an epoch: JSON, without the time at which it is handed out. */
export interface EncodedMap {
  encoded: string
  issuedAt: number // ms, taken after the directory read its storage
}

export const decodeMap = ({ encoded, issuedAt }: EncodedMap): MapWire => ({
  ...(JSON.parse(encoded) as Omit<MapWire, 'issuedAt'>),
  issuedAt,
})

/** Slot → shard, for one epoch. Immutable. */
export class ShardMap {
  readonly epoch: number
  readonly issuedAt: number
  readonly shards: readonly ShardEntry[]
  readonly wire: MapWire
  readonly #owners = new Map<Keyspace, Uint16Array>()

  constructor(wire: MapWire) {
    this.wire = wire
    this.epoch = wire.epoch
    this.issuedAt = wire.issuedAt
    this.shards = wire.shards
    for (const keyspace of keyspaces) {
      const runs = wire.runs[keyspace]
      if (runs) this.#owners.set(keyspace, expandRuns(runs, wire.shards.length))
    }
  }

  /** False while the slots of a new keyspace are not assigned, as far as this map knows. */
  has(keyspace: Keyspace): boolean {
    return this.#owners.has(keyspace)
  }

  /** The shard that owns a slot, given as four hex digits. Throws KEYSPACE_UNASSIGNED. */
  ownerOf(keyspace: Keyspace, slot: string): ShardEntry {
    return this.shards[this.#ownersOf(keyspace)[Number.parseInt(slot, 16)]!]!
  }

  /** How many slots of a keyspace each shard owns, in the order of `shards`. Throws KEYSPACE_UNASSIGNED. */
  slotCounts(keyspace: Keyspace): number[] {
    return countsOf(this.#ownersOf(keyspace), this.shards.length)
  }

  /** A keyspace's runs. Throws KEYSPACE_UNASSIGNED. */
  runs(keyspace: Keyspace): Run[] {
    const runs = this.wire.runs[keyspace]
    if (!runs) throw unassigned(keyspace)
    return runs
  }

  #ownersOf(keyspace: Keyspace): Uint16Array {
    const owners = this.#owners.get(keyspace)
    if (!owners) throw unassigned(keyspace)
    return owners
  }
}

/** The refusal of a keyspace that this version brought and whose slots are not assigned yet. */
export const unassigned = (keyspace: Keyspace) =>
  new BanyanError(
    'KEYSPACE_UNASSIGNED',
    `The slots of the keyspace ${keyspace} are not assigned to shards yet. Nothing was written. Try again in a moment.`,
    { retryAfterSeconds: 1 },
  )

/** The number of slots of each shard, given the owner of each slot. */
export function countsOf(owners: Uint16Array, shardCount: number): number[] {
  const counts: number[] = Array(shardCount).fill(0)
  for (const shard of owners) counts[shard] = (counts[shard] ?? 0) + 1
  return counts
}

/** The owner of each slot, as the shard's index. Throws INTERNAL if the runs are not in order. */
export function expandRuns(runs: Run[], shardCount: number): Uint16Array {
  const owners = new Uint16Array(SLOT_COUNT)
  if (runs[0]?.[0] !== 0) throw new BanyanError('INTERNAL', 'the shard map does not start at slot 0000')
  for (const { first, after, shard } of spansOf(runs)) {
    if (after <= first || shard >= shardCount)
      throw new BanyanError('INTERNAL', 'the shard map’s runs are not in order')
    owners.fill(shard, first, after)
  }
  return owners
}

/** The runs with their ends: each run's first slot, the slot after its last, and the shard's index. */
export const spansOf = (runs: Run[]): { first: number; after: number; shard: number }[] =>
  runs.map((run, index) => {
    const [first, shard] = run as [number, number]
    return { first, after: runs[index + 1]?.[0] ?? SLOT_COUNT, shard }
  })

/** Runs that give each of `shardCount` shards an even share: contiguous, and within one slot of each other. */
export const evenRuns = (shardCount: number): Run[] =>
  Array.from({ length: shardCount }, (_, shard) => [Math.floor((shard * SLOT_COUNT) / shardCount), shard])
