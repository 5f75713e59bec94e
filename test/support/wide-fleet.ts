import type { Clock } from '../../src/core/clock.ts'
import { Fleet } from '../../src/resharding/fleet.ts'
import { MovePlanning } from '../../src/resharding/move-planning.ts'
import { MoveRecords } from '../../src/resharding/move-records.ts'
import { Directory } from '../../src/sharding/directory.ts'
import { evenRuns } from '../../src/sharding/shard-map.ts'
import { SimulatedStorage } from '../simulation/template.ts'
import { enginesOwn } from './fleet.ts'

export interface WideFleetOptions {
  /** The number of shards that have slots, and the number of all shards. */
  from: number
  to: number
  clock: Clock
  leaseMs?: number
  graceMs?: number
  storage?: SimulatedStorage
  bytes?: (shard: string) => number | null
  shardBytesMax?: number
}

const wide = { shards: new Map(), newDeploymentId: () => 'wide', keyspaces: enginesOwn }

export const shardName = (index: number): string => `shard-${String(index).padStart(3, '0')}`

/**
 * The directory and its moves over many shards. These have no databases, so no mover can run; `wakes` gets the movers
 * to wake.
 */
export function wideFleet({ from, to, clock, storage, ...given }: WideFleetOptions) {
  const { leaseMs = 30_000, graceMs = 300_000, bytes = () => null, shardBytesMax = 10_000_000_000 } = given
  const kept = storage ?? bootedStorage(from, to, clock)
  const directory = new Directory({ ...wide, storage: kept, clock })
  const wakes = { of: (_moveId: string): void => undefined }
  let ids = kept.rows('SELECT 1 FROM sqlite_master WHERE name = ?', 'moves').length === 0 ? 0 : 1_000_000
  const options = {
    storage: kept,
    clock,
    directory,
    leaseMs,
    graceMs,
    shardBytesMax,
    newId: (): string => `move-${ids++}`,
    // A database answers after a moment, and the object does other things in between.
    shardFacts: async ({ id }: { id: string }) => {
      await new Promise((resolve) => setImmediate(resolve))
      return { schema: 'the same', bytes: bytes(id) }
    },
    newestMigration: '',
    onRunnable: (ids: string[]) => {
      for (const id of ids) wakes.of(id)
    },
  }
  const records = new MoveRecords(options)
  const planning = new MovePlanning({ ...options, records })
  const fleet = new Fleet({ directory, records, planning })
  return { storage: kept, directory, records, planning, fleet, wakes, options }
}

function bootedStorage(from: number, to: number, clock: Clock): SimulatedStorage {
  const storage = new SimulatedStorage()
  new Directory({ ...wide, storage, clock })
  for (let index = 0; index < to; index++)
    storage.rows(
      "INSERT INTO shards (ordinal, id, binding, state) VALUES (?, ?, ?, 'serving')",
      index,
      shardName(index),
      shardName(index).toUpperCase().replace('-', '_'),
    )
  for (const keyspace of enginesOwn)
    for (const [start, shard] of evenRuns(from) as [number, number][])
      storage.rows('INSERT INTO runs (keyspace, start, shard) VALUES (?, ?, ?)', keyspace, start, shard)
  storage.rows("INSERT INTO meta (name, value) VALUES ('deployment', 'wide'), ('epoch', '1'), ('booted', 'yes')")
  return storage
}
