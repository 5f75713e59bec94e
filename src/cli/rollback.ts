import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from './client.ts'
import type { Command, Output } from './command.ts'
import { readConfig } from './deploy-config.ts'
import { shardsOfVersion } from './deploy-worker.ts'
import { addressOf, type Deploying, openDeploying } from './deploying.ts'
import { UserError } from './errors.ts'
import type { OptionValues } from './options.ts'
import { PlatformError } from './platform/api.ts'
import { type Deployment, deployVersion, findVersion, listDeployments, type Version } from './platform/worker.ts'
import { warmCheck } from './site-checks.ts'

/** A shard as the operators' API lists it. */
export interface MapShard {
  id: string
  binding: string
  state: string
  slots: number
}

export interface RollbackOptions {
  address: string
  /** The shards of the live map. */
  shards(): Promise<MapShard[]>
  /** A version's id; else the one that was live before. */
  to?: string | undefined
  isDryRun: boolean
}

const SECRETS_CHANGED = 10220

/**
 * Makes an earlier version live again. Refused where it lacks the binding of a shard that the live map uses, since that
 * shard's users would get errors. Databases are not touched: a version runs on the schema of the next one. Throws UserError.
 */
export async function rollback(deploying: Deploying, options: RollbackOptions): Promise<Output> {
  const { platform } = deploying
  const { name } = readConfig(deploying.readConfigText())
  const deployments = await listDeployments(platform, name)
  const liveId = deployments[0]?.versions[0]?.version_id
  const wantedId = options.to ?? versionBefore(deployments)
  if (!liveId || !wantedId)
    throw new UserError('There is no version to go back to.', 'One is there once a second one was deployed.')
  if (wantedId === liveId) throw new UserError(`Version ${wantedId} is live.`, 'Versions: npx wrangler versions list')
  const [wanted, live] = await Promise.all([wantedId, liveId].map((id) => findVersion(platform, name, id)))
  if (!wanted) throw new UserError(`There is no version ${wantedId}.`, 'Versions: npx wrangler versions list')
  refuseWithoutShards(wanted, live ?? wanted, await options.shards())
  const json = { from: liveId, to: wantedId, address: options.address }
  if (options.isDryRun) return { json, text: `Would go back from ${liveId} to ${described(wanted)}.` }
  await makeLive(deploying, name, wantedId, liveId)
  const ready = await warmCheck(deploying, () => options.address).check()
  return { json, text: `${described(wanted)} is live again; ${ready}.\nBack to the newest: npm run deploy` }
}

/** The last one that had all the traffic before the one that has it now. */
function versionBefore([newest, ...older]: Deployment[]): string | null {
  const live = newest?.versions[0]?.version_id
  const whole = older.filter(({ versions }) => versions.length === 1)
  return whole.map(({ versions }) => versions[0]!.version_id).find((id) => id !== live) ?? null
}

function refuseWithoutShards(wanted: Version, live: Version, shards: MapShard[]): void {
  const [has, hasNow] = [shardsOfVersion(wanted), shardsOfVersion(live)]
  const lacking = shards.filter(
    ({ binding }) => !has.has(binding) || (hasNow.has(binding) && hasNow.get(binding) !== has.get(binding)),
  )
  if (lacking.length === 0) return
  const named = lacking.map(({ id, binding, slots }) => `${binding} (${id}, ${slots.toLocaleString('en')} slots)`)
  throw new UserError(
    `${described(wanted)} does not bind what the live map uses: ${named.join(', ')}. Users there would get errors.`,
    `Go back to a version that binds it (--to VERSION), or take the shard out of the map first: npm run banyan -- shards drain ${lacking[0]!.id}, then shards remove`,
  )
}

async function makeLive({ platform }: Deploying, name: string, wantedId: string, liveId: string): Promise<void> {
  try {
    await deployVersion(platform, name, wantedId, `banyan rollback from ${liveId}`)
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error
    if (error.codes.includes(SECRETS_CHANGED))
      throw new UserError(error.message, `If it works with the secrets of now: npx wrangler rollback ${wantedId}`)
    // Whether a call whose answer is lost was carried out: the list says.
    if (error.isCertain || (await listDeployments(platform, name))[0]?.versions[0]?.version_id !== wantedId) throw error
  }
}

const described = ({ id, annotations, metadata }: Version): string =>
  `version ${id} (${annotations?.['workers/tag'] ?? 'no tag'}, of ${metadata?.created_on ?? 'an unknown time'})`

async function run(_connect: unknown, _operands: string[], options: OptionValues): Promise<Output> {
  const say = (line: string) => console.error(line)
  const deploying = openDeploying({ config: options.config, environment: process.env, sleep, say })
  const config = readConfig(deploying.readConfigText())
  const address = await addressOf(deploying.platform, config, options.url)
  const connection = connect({ url: address, token: options.token })
  return rollback(deploying, {
    address,
    shards: async () => (await connection.get<{ items: MapShard[] }>('/operator/v1/shards')).items,
    to: options.to,
    isDryRun: options['dry-run'] ?? false,
  })
}

export const rollbackCommands: Record<string, Command> = {
  rollback: { operands: [], options: ['config', 'to', 'dry-run'], run },
}
