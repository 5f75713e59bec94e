import { expect } from 'vitest'
import { migratedDatabase } from '../../scripts/shard-schema.ts'
import { readMigrations } from '../../src/cli/migrations/shard-migrations.ts'
import { Fleet } from '../../src/resharding/fleet.ts'
import { MovePlanning } from '../../src/resharding/move-planning.ts'
import { MoveRecords } from '../../src/resharding/move-records.ts'
import type { MoveState } from '../../src/resharding/record.ts'
import { SCHEMA_VERSION } from '../../src/resharding/shard-side.ts'
import { Directory } from '../../src/sharding/directory.ts'
import type { ShardEntry } from '../../src/sharding/shard-map.ts'
import { SimulatedShard } from '../simulation/database.ts'
import { SimulatedStorage } from '../simulation/template.ts'
import { ManualClock } from './sharding-doubles.ts'

/** A database as `migrations apply` leaves it, or without the last migration. */
export function migratedShard({ isOld = false } = {}): D1Database {
  const migrations = isOld ? readMigrations().slice(0, -1) : readMigrations()
  const sqlite = migratedDatabase(migrations)
  sqlite.exec('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT)')
  for (const { name } of migrations) sqlite.prepare('INSERT INTO d1_migrations (name) VALUES (?)').run(name)
  return new SimulatedShard(sqlite).connection(async (_call, execute) => execute())
}

/** Whatever keyspaces the application adds, tests of the engine count the moves of these. */
export const enginesOwn = ['users', 'claims'] as const

/** The directory of two shards, or more, after its first boot, with its records of moves. No mover runs. */
export async function bootedFleet({
  leaseMs = 1_000,
  graceMs = 5_000,
  shardCount = 2,
  clock = new ManualClock(),
} = {}) {
  const bound = new Map(Array.from({ length: shardCount }, (_, index) => [`SHARD_00${index}`, migratedShard()]))
  const common = { storage: new SimulatedStorage(), clock }
  const directory = new Directory({ ...common, shards: bound, keyspaces: enginesOwn, newDeploymentId: () => 'ours' })
  let ids = 0
  /** Database sizes as the platform reports them, by binding; empty at first. */
  const sizes = new Map<string, number>()
  /** Moves whose movers the directory wanted to wake. */
  const runnable: string[] = []
  const options = {
    ...common,
    directory,
    leaseMs,
    graceMs,
    newId: () => `move-${ids++}`,
    shardFacts: async ({ binding }: ShardEntry) => ({
      schema: (await bound.get(binding)!.prepare(SCHEMA_VERSION).first<string>('version'))!,
      bytes: sizes.get(binding) ?? null,
    }),
    onRunnable: (ids: string[]) => void runnable.push(...ids),
    newestMigration: readMigrations().at(-1)!.name,
  }
  const records = new MoveRecords(options)
  const planning = new MovePlanning({ ...options, records })
  await directory.map()
  const fleet = new Fleet({ directory, records, planning })
  return { ...common, bound, sizes, runnable, directory, options, records, planning, fleet }
}

/** Records all states up to settling, as the move's mover does. */
export function settle(records: MoveRecords, id: string): void {
  record(records, id, ['preparing', 'copying', 'catching-up', 'cutover', 'committed', 'settling'])
}

/** Records these states one after another, as the move's mover does. */
export function record(records: MoveRecords, id: string, states: MoveState[]): void {
  for (const to of states) {
    const change = to === 'committed' ? ({ to, bookmark: null } as const) : ({ to } as { to: 'settling' })
    const answer = records.change(records.find(id)!, change, null)
    expect(answer.outcome, `${id} to ${to}`).toBe('recorded')
  }
}
