import { migrateShards } from '../migrations/migrate.ts'
import { readMigrations } from '../migrations/shard-migrations.ts'
import type { Location } from '../platform/resources.ts'
import type { Connection } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'
import { type LocalOptions, localConfig } from '../wrangler/local-options.ts'
import { withDatabases } from '../wrangler/local-shards.ts'
import { localBindings } from '../wrangler/shard-bindings.ts'
import { names, SHARDS_AT_ONCE_MAX, say } from './add-shards.ts'
import type { ShardHost } from './shard-host.ts'

/** A local application. `npm run dev` reloads a changed configuration by itself. */
export function localHost(connect: () => Connection, options: LocalOptions, location: Location): ShardHost {
  if (location.hint || location.jurisdiction)
    throw new UserError('A local database has no location.', 'Remove --location and --jurisdiction.')
  const { configPath, persistTo } = localConfig(options)
  return {
    configPath,
    connection: connect(),
    bound: localBindings,
    async prepare(shards) {
      await withDatabases(shards, persistTo, migrateNew)
      say(`Migrated ${names(shards)}.`)
    },
    release: async () => say('Waiting for the version that binds all of them.'),
  }
}

async function migrateNew(databases: Parameters<typeof migrateShards>[0]): Promise<void> {
  const onProgress = () => undefined
  const options = { migrations: readMigrations(), canary: null, atOnceMax: SHARDS_AT_ONCE_MAX, onProgress }
  const [failed] = (await migrateShards(databases, options)).failed
  if (failed)
    throw new UserError(
      `${failed.migration} failed on ${failed.binding}: ${failed.reason}`,
      'Fix the migration, and run the command again to resume.',
    )
}
