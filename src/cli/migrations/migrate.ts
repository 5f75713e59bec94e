import { eachAtMost } from '../../core/bounded.ts'
import { zip } from '../../core/zip.ts'
import { UserError } from '../shell/errors.ts'
import { refuseUnsafe } from './migration-rules.ts'
import type { Migration } from './shard-migrations.ts'

/** A shard's database and its migrations. */
export interface MigratedShard {
  binding: string
  /** Names of the applied migrations, oldest first. */
  applied(): Promise<string[]>
  /** Applies a migration entirely or not at all. */
  apply(migration: Migration): Promise<void>
}

export interface ShardStatus {
  binding: string
  /** The newest applied migration; null if there is none. */
  newest: string | null
  /** Names of the missing migrations, oldest first. */
  pending: string[]
}

export interface MigrationRun {
  /** Number of migrations applied, over all shards. */
  applied: number
  /** Shards that were migrated completely. */
  done: string[]
  failed: { binding: string; migration: string; reason: string }[]
  /** Shards that lack migrations and were not started, because another shard failed. */
  untouched: string[]
}

export interface MigrateOptions {
  migrations: Migration[]
  /** The shard to migrate first, alone. Null: the first that lacks a migration. */
  canary: string | null
  atOnceMax: number
  onProgress: (done: number, all: number, said: string) => void
}

/**
 * Each shard's missing migrations. Throws UserError if a shard has an unknown migration, which a newer version applied.
 */
export async function migrationStatus(
  shards: MigratedShard[],
  migrations: Migration[],
  atOnceMax: number,
): Promise<ShardStatus[]> {
  const statuses = new Map<MigratedShard, ShardStatus>()
  const names = migrations.map(({ name }) => name)
  await eachAtMost(atOnceMax, shards, async (shard) => {
    const applied = await shard.applied()
    const unknown = applied.filter((name) => !names.includes(name))
    if (unknown.length > 0)
      throw new UserError(
        `${shard.binding} has ${unknown.join(', ')}, which is not in migrations/shard, so a newer version migrated it.`,
        'Check out that version, and run the command there.',
      )
    const pending = names.filter((name) => !applied.includes(name))
    statuses.set(shard, { binding: shard.binding, newest: applied.at(-1) ?? null, pending })
  })
  return shards.flatMap((shard) => statuses.get(shard) ?? [])
}

/**
 * Applies each shard's missing migrations: the canary first, alone, then the others, `atOnceMax` at a time. If one
 * fails, it starts no further shards. Each migration applies entirely or not at all, so another run resumes after any
 * interruption. Throws UserError, before it applies anything, for a migration that is not allowed on a sharded table.
 */
export async function migrateShards(shards: MigratedShard[], options: MigrateOptions): Promise<MigrationRun> {
  const { migrations, canary, atOnceMax, onProgress } = options
  const statuses = await migrationStatus(shards, migrations, atOnceMax)
  const lagging = zip(shards, statuses)
    .map(([shard, status]) => ({ shard, pending: migrations.filter(({ name }) => status.pending.includes(name)) }))
    .filter(({ pending }) => pending.length > 0)
  const isPending = (migration: Migration) => lagging.some(({ pending }) => pending.includes(migration))
  refuseUnsafe(migrations.filter(isPending), migrations)
  const first = lagging.find(({ shard }) => shard.binding === canary) ?? lagging[0]
  const run: MigrationRun = { applied: 0, done: [], failed: [], untouched: [] }
  const migrate = async ({ shard, pending }: { shard: MigratedShard; pending: Migration[] }) => {
    if (run.failed.length > 0) return void run.untouched.push(shard.binding)
    for (const migration of pending) {
      try {
        await shard.apply(migration)
        run.applied++
      } catch (error) {
        run.failed.push({ binding: shard.binding, migration: migration.name, reason: (error as Error).message })
        return
      }
    }
    run.done.push(shard.binding)
    onProgress(run.done.length, lagging.length, `${shard.binding}: ${pending.map(({ name }) => name).join(', ')}`)
  }
  if (first) await migrate(first)
  await eachAtMost(
    atOnceMax,
    lagging.filter((each) => each !== first),
    migrate,
  )
  return run
}
