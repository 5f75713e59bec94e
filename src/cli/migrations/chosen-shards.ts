import { setTimeout as sleep } from 'node:timers/promises'
import { openDeployment } from '../deploy/deployment.ts'
import type { OptionValues } from '../shell/options.ts'
import { type databaseOptions, localConfig, refuseLocalOptions } from '../wrangler/local-options.ts'
import { withLocalShards } from '../wrangler/local-shards.ts'
import type { MigratedShard } from './migrate.ts'
import { remoteShards } from './remote-shards.ts'

/** Opens the local databases or, with `--remote`, the configuration's deployed ones. */
export async function withShards<T>(
  options: OptionValues<typeof databaseOptions>,
  use: (shards: MigratedShard[]) => Promise<T>,
): Promise<T> {
  if (!options.remote) return withLocalShards(localConfig(options), use)
  refuseLocalOptions(options)
  const say = (line: string) => void process.stderr.write(`${line}\n`)
  return use(await remoteShards(openDeployment({ config: options.config, environment: process.env, sleep, say })))
}
