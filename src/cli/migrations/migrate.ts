import { eachAtMost } from '../../core/bounded.ts'
import { zip } from '../../core/zip.ts'
import { UserError } from '../shell/errors.ts'
import { refuseUnsafe } from './migration-rules.ts'
import type { Migration } from './shard-migrations.ts'

/** A shard's database, as migrations see it. */
export interface MigratedShard {
  binding: string
  /** Names of the migrations that it has, oldest first. */
  applied(): Promise<string[]>
  /** Applies one whole, or not at all. */
  apply(migration: Migration): Promise<void>
}

export interface ShardStatus {
  binding: string
  /** The newest migration that it has; null: none. */
  newest: string | null
  /** Names of those that it lacks, oldest first. */
  pending: string[]
}

export interface MigrationRun {
  /** How many migrations were applied. */
  applied: number
  /** Shards that have all of them now. */
  done: string[]
  failed: { binding: string; migration: string; reason: string }[]
  /** Shards that still lack some and weren't tried, since another had failed. */
  untouched: string[]
}

export interface MigrateOptions {
  migrations: Migration[]
  /** The shard that goes first, alone; the others follow when it is done. */
  canary: string | null
  atOnceMax: number
  onProgress: (done: number, all: number, said: string) => void
}

/** What each shard lacks. Throws UserError where one has a migration that isn't known here: it is of a newer version. */
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
        `${shard.binding} has ${unknown.join(', ')}, which is not in migrations/shard.`,
        'It was migrated by a newer version. Check that one out.',
      )
    const pending = names.filter((name) => !applied.includes(name))
    statuses.set(shard, { binding: shard.binding, newest: applied.at(-1) ?? null, pending })
  })
  return shards.flatMap((shard) => statuses.get(shard) ?? [])
}

/**
 * Applies what each shard lacks: the canary first, alone; then the others, some at a time. When one fails, no other is
 * begun. Each migration is whole or absent in a shard, so that a run that was ended anywhere goes on where it was. Throws
 * UserError, with nothing applied, for a migration that a sharded table can't take.
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
