import { setTimeout as sleep } from 'node:timers/promises'
import { addressOf as addressOfDeployment, type Deployment, openDeployment } from '../deploy/deployment.ts'
import { findConfigured } from '../deploy/resources.ts'
import { PlatformError } from '../platform/api.ts'
import { databases } from '../platform/resources.ts'
import { isLocal } from '../shell/address.ts'
import { addressOf } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'
import { inParallel } from '../shell/in-parallel.ts'
import { configOption, type OptionValues } from '../shell/options.ts'
import { readConfig } from '../wrangler/config.ts'
import { shardBindings } from '../wrangler/shard-bindings.ts'

export interface ShardDatabase {
  binding: string
  /** `banyan-shard-002` */
  database: string
  id: string
}

export const replicaOptions = {
  only: {
    value: 'SHARDS',
    help: 'bindings of the shards, separated by commas, like SHARD_001,SHARD_004 (default: all in the configuration)',
  },
  remote: { help: 'use the deployed application of --config, even if --url is local' },
  config: configOption,
} as const

/** The configuration's deployment. Throws UserError for a local application. */
export function openDeployed(options: OptionValues<typeof replicaOptions> & { url?: string | undefined }): Deployment {
  if (!options.remote && isLocal(addressOf(options)))
    throw new UserError(
      'Local databases have no replicas.',
      'Pass --remote to use the deployed databases of the configuration.',
    )
  const say = (line: string) => console.error(line)
  return openDeployment({ config: options.config, environment: process.env, sleep, say })
}

/** The address of the deployed application, found as `deploy` finds it. */
export const addressOfDeployed = ({ platform, readConfigText }: Deployment, url: string | undefined): Promise<string> =>
  addressOfDeployment(platform, readConfig(readConfigText()), url)

/**
 * The databases of the shards that `only` names, or of all. Throws UserError if the configuration does not bind one of
 * them, or if one does not exist.
 */
export async function chosenDatabases(deployment: Deployment, only: string | undefined): Promise<ShardDatabase[]> {
  const bound = shardBindings(deployment.readConfigText())
  const wanted = only?.split(',').map((name) => name.trim())
  const unknown = wanted?.find((name) => !bound.some(({ binding }) => binding === name))
  if (unknown !== undefined)
    throw new UserError(
      `The configuration binds no shard "${unknown}".`,
      `Pass some of ${bound.map(({ binding }) => binding).join(', ')}, separated by commas.`,
    )
  const chosen = bound.filter(({ binding }) => wanted?.includes(binding) ?? true)
  return inParallel(chosen, async ({ binding, databaseName: database, databaseId: configuredId }) => {
    const find = () => findConfigured(databases, deployment.platform, { name: database, configuredId })
    const id = await patiently(deployment, find)
    if (id === null)
      throw new UserError(`The account has no database ${database} (${binding}).`, 'Create it: npm run deploy')
    return { binding, database, id }
  })
}

/** The API's window, for which it may ask a caller to wait. */
const WAIT_MS_MAX = 300_000
const WAITS_MAX = 10

/** Waits as long as the API asks, because calls for a thousand databases exceed its 1,200 calls in five minutes. */
export async function patiently<T>({ say, sleep }: Deployment, call: () => Promise<T>): Promise<T> {
  for (let waits = 0; ; waits++) {
    try {
      return await call()
    } catch (error) {
      const waitMs = error instanceof PlatformError && error.status === 429 ? error.retryAfterMs : 0
      if (waitMs === 0 || waitMs > WAIT_MS_MAX || waits === WAITS_MAX) throw error
      say(`The API accepts no more calls for ${Math.ceil(waitMs / 1_000)} s. Waiting.`)
      await sleep(waitMs)
    }
  }
}
