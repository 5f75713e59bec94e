import { readConfig } from './deploy-config.ts'
import type { Deploying } from './deploying.ts'
import { UserError } from './errors.ts'
import type { MigratedShard } from './migrate.ts'
import { appliedMigrations, applyMigration } from './platform/database.ts'
import { databases } from './platform/resources.ts'

/** The deployed databases of the configuration's shards, found by their names. Throws UserError where one isn't there. */
export async function remoteShards(deploying: Deploying): Promise<MigratedShard[]> {
  const { platform, databaseIds } = deploying
  const { shards } = readConfig(deploying.readConfigText())
  return Promise.all(
    shards.map(async ({ binding, databaseName }) => {
      const id = databaseIds.get(binding) ?? (await databases.find(platform, databaseName))
      if (id === null)
        throw new UserError(`The account has no database ${databaseName} (${binding}).`, 'Make it: npm run deploy')
      return migratedDatabase(deploying, binding, id)
    }),
  )
}

/** One that isn't made yet has no migration. */
export const migratedDatabase = ({ platform }: Deploying, binding: string, id: string | null): MigratedShard => ({
  binding,
  applied: async () => (id === null ? [] : appliedMigrations(platform, id)),
  apply: (migration) => applyMigration(platform, id!, migration),
})
