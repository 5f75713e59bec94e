import { present } from '../../core/present.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { findConfigured } from '../deploy/resources.ts'
import { appliedMigrations, applyMigration } from '../platform/database.ts'
import { databases } from '../platform/resources.ts'
import { UserError } from '../shell/errors.ts'
import { readConfig } from '../wrangler/config.ts'
import type { MigratedShard } from './migrate.ts'

/**
 * The deployed databases of the configuration's shards. Throws UserError if one does not exist, or has another id than
 * in the configuration.
 */
export async function remoteShards(deployment: Deployment): Promise<MigratedShard[]> {
  const { platform, databaseIds } = deployment
  const { shards } = readConfig(deployment.readConfigText())
  return Promise.all(
    shards.map(async ({ binding, databaseName: name, databaseId: configuredId }) => {
      const id = databaseIds.get(binding) ?? (await findConfigured(databases, platform, { name, configuredId }))
      if (id === null)
        throw new UserError(`The account has no database ${name} (${binding}).`, 'Create it: npm run deploy')
      return migratedDatabase(deployment, binding, id)
    }),
  )
}

/** A database by its id. A null id means that it does not exist yet, and has no migrations. */
export const migratedDatabase = ({ platform }: Deployment, binding: string, id: string | null): MigratedShard => ({
  binding,
  applied: async () => (id === null ? [] : appliedMigrations(platform, id)),
  apply: async (migration) => applyMigration(platform, present(id, `the database of ${binding}`), migration),
})
