import { readMigrations } from '../migrations/shard-migrations.ts'
import type { Platform } from '../platform/api.ts'
import { appliedMigrations, applyMigration, readRows, runBatch } from '../platform/database.ts'

/** What a shard says of itself, past what its users wrote: who it is, which slots it has since when, the mover's step. */
export interface Ownership {
  identity: string
  slots: string
  step: number
}

/** In rows of at most 256 slots: all of them in one value would be more than the 2 MB that a value may have. */
const SLOTS = `SELECT keyspace, state, epoch, substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), '') AS slots
  FROM (SELECT * FROM slots ORDER BY keyspace, slot) GROUP BY keyspace, state, epoch, part ORDER BY keyspace, part, state, epoch`

/** Throws PlatformError where the database has no such tables: before its first migration. */
export async function ownershipOf(platform: Platform, databaseId: string): Promise<Ownership> {
  const [identity] = await readRows<object>(platform, databaseId, 'SELECT deployment, shard FROM shard_identity')
  const slots = await readRows<object>(platform, databaseId, SLOTS)
  const [mover] = await readRows<{ step: number }>(platform, databaseId, 'SELECT step FROM mover')
  if (!mover) throw new Error('the shard has no row of its mover')
  return { identity: JSON.stringify(identity ?? null), slots: JSON.stringify(slots), step: mover.step }
}

/** In what the shard as it is now differs from what it was, as far as the map is concerned; null where it doesn't. */
export async function differenceFrom(platform: Platform, databaseId: string, was: Ownership): Promise<string | null> {
  const [tables] = await readRows<{ n: number }>(
    platform,
    databaseId,
    "SELECT count(*) AS n FROM sqlite_master WHERE name IN ('shard_identity', 'slots', 'mover')",
  )
  if (!tables || tables.n < 3) return 'it was not migrated yet'
  const now = await ownershipOf(platform, databaseId)
  if (now.identity !== was.identity) return 'it did not belong to this application yet'
  // Their epochs as well: slots that left and came back would come back without what was written elsewhere.
  if (now.slots !== was.slots) return 'it had other slots: a move has touched it since'
  return null
}

/**
 * Brings what time travel took back to where it must be: the mover's step never falls, or a mover's batch that was held
 * back could apply; the schema is the one the other shards have. Returns how many migrations were applied again.
 */
export async function reconcile(platform: Platform, databaseId: string, was: Ownership): Promise<number> {
  const sql = 'UPDATE mover SET step = max(step, ?) + 1, open = 0'
  await runBatch(platform, databaseId, [{ sql, params: [was.step] }])
  const applied = await appliedMigrations(platform, databaseId)
  const missing = readMigrations().filter(({ name }) => !applied.includes(name))
  for (const migration of missing) await applyMigration(platform, databaseId, migration)
  return missing.length
}
