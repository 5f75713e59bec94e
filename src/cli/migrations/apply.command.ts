import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { counted } from '../shell/table.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { databaseOptions } from '../wrangler/local-options.ts'
import { withShards } from './chosen-shards.ts'
import { type MigratedShard, type MigrationRun, migrateShards } from './migrate.ts'
import { type Migration, readMigrations } from './shard-migrations.ts'

const AT_ONCE = 6
const AT_ONCE_MAX = 32

export const command = defineCommand({
  name: 'migrations apply',
  summary: 'applies missing migrations to every shard',
  details: `It migrates one shard first, and then the others in parallel. If a shard fails, it starts no further shards.
Idempotent: if interrupted, run the command again to resume.`,
  options: {
    ...databaseOptions,
    canary: {
      value: 'BINDING',
      help: 'shard to migrate first, like SHARD_003 (default: the first that lacks a migration)',
    },
    'at-once': { value: 'N', help: `number of shards to migrate in parallel after the first (default: ${AT_ONCE})` },
  },
  examples: ['migrations apply --remote --canary SHARD_003'],
  async run(_connect, _operands, options) {
    const atOnceMax = wholeNumber('--at-once', options['at-once'] ?? String(AT_ONCE), 1, AT_ONCE_MAX)
    const run = await withShards(options, (shards) =>
      applied(shards, readMigrations(), options.canary ?? null, atOnceMax),
    )
    return { json: run, text: outcome(run), isFailure: run.failed.length > 0 }
  },
})

function applied(shards: MigratedShard[], migrations: Migration[], canary: string | null, atOnceMax: number) {
  if (canary !== null && !shards.some(({ binding }) => binding === canary))
    throw new UserError(
      `The configuration binds no shard ${canary}.`,
      `Pass one of ${shards.map(({ binding }) => binding).join(', ')}.`,
    )
  const { stderr } = process
  const width = String(shards.length).length
  return migrateShards(shards, {
    migrations,
    canary,
    atOnceMax,
    onProgress: (done, all, said) => stderr.write(`${String(done).padStart(width)} of ${all}  ${said}\n`),
  })
}

function outcome({ applied, done, failed, untouched }: MigrationRun): string {
  if (failed.length === 0)
    return applied === 0
      ? 'Every shard already has all migrations.'
      : `Applied ${counted(applied, 'migration')} to ${counted(done.length, 'shard')}.`
  const lines = failed.map(
    ({ binding, migration, reason }) => `${migration} failed on ${binding}, and was not applied there: ${reason}`,
  )
  const rest = untouched.length === 0 ? '' : ` ${counted(untouched.length, 'shard')} not started.`
  return `${lines.join('\n')}\n${counted(done.length, 'shard')} migrated.${rest} Fix the cause, and run the command again to resume.`
}
