import type { Shard } from '../../console/shapes.ts'
import { PlatformError } from '../platform/api.ts'
import { deployVersion, findVersion, listDeployments, type Version, type WorkerDeployment } from '../platform/worker.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { readConfig } from '../wrangler/config.ts'
import type { Deployment } from './deployment.ts'
import { warmCheck } from './site-checks.ts'
import { shardsOfVersion } from './worker.ts'

/** What matters of a shard here. */
type MapShard = Pick<Shard, 'id' | 'binding' | 'slots'>

export interface RollbackOptions {
  address: string
  /** The shards of the live map. May throw anything: it is the live version that is asked, and that may be the broken one. */
  shards(): Promise<MapShard[]>
  /** A version's id; else the one that was live before. */
  to?: string | undefined
  /** Where the map can't be read: also to a version that binds fewer shards than the live one. */
  isWithoutMap?: boolean
  isDryRun: boolean
}

const SECRETS_CHANGED = 10220
const MESSAGE = 'banyan rollback from'

/**
 * Makes an earlier version live again; run again, it only looks whether that is well. Refused where the version lacks the
 * binding of a shard that the live map uses, since that shard's users would get errors. Where the live version is too
 * broken to show the map, what it binds stands for it: then no shard is worse off than now. Databases are not touched: a
 * version runs on the schema of the next one. Throws UserError.
 */
export async function rollback(deployment: Deployment, options: RollbackOptions): Promise<Output> {
  const { platform } = deployment
  const { name } = readConfig(deployment.readConfigText())
  const deployments = await listDeployments(platform, name)
  const liveIds = deployments[0]?.versions.map(({ version_id }) => version_id) ?? []
  const [liveId] = liveIds
  if (!liveId) throw new UserError('There is no version to go back to.', ONE_DEPLOYED)
  const back = options.to ? null : rollbackBehind(deployments)
  if (back) return alreadyBack(deployment, liveId, back, options)
  const wantedId = options.to ?? versionBefore(deployments)
  if (!wantedId) throw new UserError('There is no version to go back to.', ONE_DEPLOYED)
  if (wantedId === liveId) throw new UserError(`Version ${wantedId} is live.`, VERSIONS)
  const [wanted, ...live] = await Promise.all([wantedId, ...liveIds].map((id) => findVersion(platform, name, id)))
  if (!wanted) throw new UserError(`There is no version ${wantedId}.`, VERSIONS)
  await refuseLostShards(deployment, wanted, live, options)
  const json = { from: liveId, to: wantedId, address: options.address }
  if (options.isDryRun) return { json, text: `Would go back from ${liveId} to ${described(wanted)}.` }
  await makeLive(deployment, name, wantedId, liveId)
  const ready = await warmCheck(deployment, () => options.address).check()
  return { json, text: `${described(wanted)} is live again; ${ready}.\nBack to the newest: npm run deploy` }
}

const VERSIONS = 'Versions: npx wrangler versions list'
const ONE_DEPLOYED = 'One is there once a second one was deployed.'

/** Versions that had all the traffic before what has it now, newest first. */
const wholeBefore = ([, ...older]: WorkerDeployment[]): string[] =>
  older.flatMap(({ versions }) => (versions.length === 1 ? versions.map(({ version_id }) => version_id) : []))

/** The last one that had all the traffic before the one that has it now. */
function versionBefore(deployments: WorkerDeployment[]): string | null {
  const live = deployments[0]?.versions[0]?.version_id
  return wholeBefore(deployments).find((id) => id !== live) ?? null
}

/**
 * The version that was gone back from, where the newest deployment is a rollback: ours says so; of another's (wrangler's,
 * the dashboard's) the live version was live before the one that it has replaced. The platform lists ten deployments only.
 */
function rollbackBehind(deployments: WorkerDeployment[]): string | null {
  const [newest] = deployments
  const message = newest?.annotations?.['workers/message'] ?? ''
  if (message.startsWith(MESSAGE)) return message.slice(MESSAGE.length).trim()
  const live = newest?.versions[0]?.version_id
  const before = versionBefore(deployments)
  const whole = wholeBefore(deployments)
  return before && live && whole.indexOf(live, whole.indexOf(before)) >= 0 ? before : null
}

async function alreadyBack(
  deployment: Deployment,
  liveId: string,
  from: string,
  { address, isDryRun }: RollbackOptions,
): Promise<Output> {
  const json = { from, to: liveId, address }
  const text = `Version ${liveId} is live already, since it was gone back to from ${from}.`
  const more = 'To another one: npm run banyan -- rollback --to VERSION (npx wrangler versions list)'
  if (isDryRun) return { json, text: `${text}\n${more}` }
  const ready = await warmCheck(deployment, () => address).check()
  return { json, text: `${text} It is ${ready}.\n${more}` }
}

/** Throws UserError where a shard's users would get errors, or would be looked for in another database. */
async function refuseLostShards(
  { say }: Deployment,
  wanted: Version,
  live: (Version | null)[],
  { shards, isWithoutMap = false }: RollbackOptions,
): Promise<void> {
  const has = shardsOfVersion(wanted)
  const hasNow = new Map(live.flatMap((version) => (version ? [...shardsOfVersion(version)] : [])))
  const lacks = (binding: string) => !has.has(binding)
  const moves = (binding: string) => !lacks(binding) && (hasNow.get(binding) ?? has.get(binding)) !== has.get(binding)
  const map = await readMap(shards)
  if (map.shards) return refuseWithoutShards(wanted, map.shards, (binding) => lacks(binding) || moves(binding))
  say(`The map can’t be read: ${map.reason}`)
  const moved = [...hasNow.keys()].filter(moves)
  if (moved.length > 0)
    throw new UserError(
      `${described(wanted)} binds other databases as ${moved.join(', ')} than the live one.`,
      'Go back to a version that binds the same ones: --to VERSION',
    )
  const lacking = [...hasNow.keys()].filter(lacks)
  if (!isWithoutMap && (lacking.length > 0 || live.includes(null)))
    throw new UserError(
      `${described(wanted)} lacks what the live one binds: ${lacking.join(', ') || 'which is not known'}. Users there may get errors.`,
      'Go back to a version that binds it (--to VERSION), or to this one all the same: --without-map. Their databases stay as they are.',
    )
}

/** The live map, or why it can't be read: whatever a broken version answers is no reason to stay with it. */
async function readMap(
  shards: RollbackOptions['shards'],
): Promise<{ shards: MapShard[] } | { shards: null; reason: string }> {
  try {
    const found = await shards()
    return found.length > 0 ? { shards: found } : { shards: null, reason: 'it is empty.' }
  } catch (error) {
    return { shards: null, reason: (error as Error).message }
  }
}

function refuseWithoutShards(wanted: Version, shards: MapShard[], isLost: (binding: string) => boolean): void {
  const lacking = shards.filter(({ binding }) => isLost(binding))
  const [first] = lacking
  if (!first) return
  const named = lacking.map(({ id, binding, slots }) => `${binding} (${id}, ${slots.toLocaleString('en')} slots)`)
  throw new UserError(
    `${described(wanted)} does not bind what the live map uses: ${named.join(', ')}. Users there would get errors.`,
    `Go back to a version that binds it (--to VERSION), or take the shard out of the map first: npm run banyan -- shards drain ${first.id}, then shards remove`,
  )
}

async function makeLive({ platform }: Deployment, name: string, wantedId: string, liveId: string): Promise<void> {
  try {
    await deployVersion(platform, name, wantedId, `${MESSAGE} ${liveId}`)
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
