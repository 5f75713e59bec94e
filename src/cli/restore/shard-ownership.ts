import { present } from '../../core/present.ts'
import { readMigrations } from '../migrations/shard-migrations.ts'
import type { Platform } from '../platform/api.ts'
import { appliedMigrations, applyMigration, readRows, runBatch } from '../platform/database.ts'

/** A shard's own state, apart from users' data: its identity, its slots with their epochs, and the mover's step. */
export interface Ownership {
  identity: string
  slots: string
  step: number
}

/** In rows of at most 256 slots, because all slots in one value would exceed the limit of 2 MB. */
const SLOTS = `SELECT keyspace, state, epoch, substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), '') AS slots
  FROM (SELECT * FROM slots ORDER BY keyspace, slot) GROUP BY keyspace, state, epoch, part ORDER BY keyspace, part, state, epoch`

/** Reads the shard's state. Throws PlatformError if the database has no tables yet. */
export async function ownershipOf(platform: Platform, databaseId: string): Promise<Ownership> {
  const [identity] = await readRows<object>(platform, databaseId, 'SELECT deployment, shard FROM shard_identity')
  const slots = await readRows<object>(platform, databaseId, SLOTS)
  const [mover] = await readRows<{ step: number }>(platform, databaseId, 'SELECT step FROM mover')
  return {
    identity: JSON.stringify(identity ?? null),
    slots: JSON.stringify(slots),
    step: present(mover, 'the mover’s row of the shard').step,
  }
}

/** How the shard's current state differs from an earlier one, as far as it matters to the map; null if it does not. */
export async function differenceFrom(platform: Platform, databaseId: string, was: Ownership): Promise<string | null> {
  const [tables] = await readRows<{ n: number }>(
    platform,
    databaseId,
    "SELECT count(*) AS n FROM sqlite_master WHERE name IN ('shard_identity', 'slots', 'mover')",
  )
  if (!tables || tables.n < 3) return 'it was not migrated yet'
  const now = await ownershipOf(platform, databaseId)
  if (now.identity !== was.identity) return 'it did not belong to this application yet'
  // Epochs are compared too: slots that left and returned would lack the writes made on the other shard.
  if (now.slots !== was.slots) return 'it had other slots at that time, and a move has changed them since'
  return null
}

/**
 * Repairs the shard's state after time travel. The mover's step must not decrease, because a delayed batch of the mover
 * could then apply. The schema must equal the other shards'. Returns the number of migrations applied again.
 */
export async function reconcile(platform: Platform, databaseId: string, was: Ownership): Promise<number> {
  const sql = 'UPDATE mover SET step = max(step, ?) + 1, open = 0'
  await runBatch(platform, databaseId, [{ sql, params: [was.step] }])
  const applied = await appliedMigrations(platform, databaseId)
  const missing = readMigrations().filter(({ name }) => !applied.includes(name))
  for (const migration of missing) await applyMigration(platform, databaseId, migration)
  return missing.length
}
