import type { Shard } from '../../console/shapes.ts'
import { PlatformError } from '../platform/api.ts'
import { deployVersion, findVersion, listDeployments, type Version, type WorkerDeployment } from '../platform/worker.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { readConfig } from '../wrangler/config.ts'
import type { Deployment } from './deployment.ts'
import { warmCheck } from './site-checks.ts'
import { shardsOfVersion } from './worker.ts'

type MapShard = Pick<Shard, 'id' | 'binding' | 'slots'>

export interface RollbackOptions {
  address: string
  /** The shards of the live map. May throw anything, because the live version answers, and it may be broken. */
  shards(): Promise<MapShard[]>
  /** A version's id. Default: the version that was live before. */
  to?: string | undefined
  /** If the map can't be read, allows a version that binds fewer shards than the live one. */
  isWithoutMap?: boolean
  isDryRun: boolean
}

const SECRETS_CHANGED = 10220
const MESSAGE = 'banyan rollback from'

/**
 * Makes an earlier version live again; run again, it only checks that the version is ready. It refuses a version that
 * lacks the binding of a shard in the live map, because that shard's users would get errors. If the live version is too
 * broken to show the map, its bindings stand for the map, so that no shard is worse off than now. Databases stay as
 * they are, because a version runs on the schema of the next one. Throws UserError.
 */
export async function rollback(deployment: Deployment, options: RollbackOptions): Promise<Output> {
  const { platform } = deployment
  const { name } = readConfig(deployment.readConfigText())
  const deployments = await listDeployments(platform, name)
  const liveIds = deployments[0]?.versions.map(({ version_id }) => version_id) ?? []
  const [liveId] = liveIds
  if (!liveId) throw new UserError('No version is deployed yet.', DEPLOY_FIRST)
  const back = options.to ? null : rollbackBehind(deployments)
  if (back) return alreadyBack(deployment, liveId, back, options)
  const wantedId = options.to ?? versionBefore(deployments)
  if (!wantedId) throw new UserError('There is no earlier version to roll back to.', DEPLOY_FIRST)
  if (wantedId === liveId) throw new UserError(`Version ${wantedId} is already live.`, VERSIONS)
  const [wanted, ...live] = await Promise.all([wantedId, ...liveIds].map((id) => findVersion(platform, name, id)))
  if (!wanted) throw new UserError(`There is no version ${wantedId}.`, VERSIONS)
  await refuseLostShards(deployment, wanted, live, options)
  const json = { from: liveId, to: wantedId, address: options.address }
  if (options.isDryRun) return { json, text: `Would roll back from ${liveId} to ${described(wanted)}.` }
  await makeLive(deployment, name, wantedId, liveId)
  const ready = await warmCheck(deployment, () => options.address).check()
  return { json, text: `${described(wanted)} is live again; ${ready}.\nTo return to the newest: npm run deploy` }
}

const VERSIONS = 'Pass another version with --to. To list them: npx wrangler versions list'
const DEPLOY_FIRST = 'Deploy first: npm run deploy. A rollback needs a second version.'

/** Versions that had all the traffic before the current deployment, newest first. */
const wholeBefore = ([, ...older]: WorkerDeployment[]): string[] =>
  older.flatMap(({ versions }) => (versions.length === 1 ? versions.map(({ version_id }) => version_id) : []))

/** The last version other than the live one that had all the traffic. */
function versionBefore(deployments: WorkerDeployment[]): string | null {
  const live = deployments[0]?.versions[0]?.version_id
  return wholeBefore(deployments).find((id) => id !== live) ?? null
}

/**
 * The version that was rolled back, if the newest deployment is a rollback. Ours has a message. For another tool's
 * (wrangler, the dashboard), the live version was live before the one that it replaced. The platform lists only ten
 * deployments.
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
  const text = `Version ${liveId} is already live, after a rollback from ${from}.`
  const more = 'To roll back to another one: npm run banyan -- rollback --to VERSION (npx wrangler versions list)'
  if (isDryRun) return { json, text: `${text}\n${more}` }
  const ready = await warmCheck(deployment, () => address).check()
  return { json, text: `${text} It is ${ready}.\n${more}` }
}

/** Throws UserError if a shard's users would get errors, or would be served from another database. */
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
      `${described(wanted)} binds ${moved.join(', ')} to other databases than the live version does.`,
      'Roll back to a version that binds the same databases, with --to VERSION.',
    )
  const lacking = [...hasNow.keys()].filter(lacks)
  if (!isWithoutMap && (lacking.length > 0 || live.includes(null)))
    throw new UserError(
      `${described(wanted)} lacks bindings of the live version (${lacking.join(', ') || 'which ones is unknown'}), so users there may get errors.`,
      'Roll back to a version that has them (--to VERSION), or accept the errors with --without-map. The databases stay as they are.',
    )
}

/** The live map, or why it can't be read. No answer of a broken version may prevent its rollback. */
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
    `${described(wanted)} does not bind shards of the live map (${named.join(', ')}), so users there would get errors.`,
    `Roll back to a version that binds them (--to VERSION), or remove the shard from the map first: npm run banyan -- shards drain ${first.id}, then shards remove`,
  )
}

async function makeLive({ platform }: Deployment, name: string, wantedId: string, liveId: string): Promise<void> {
  try {
    await deployVersion(platform, name, wantedId, `${MESSAGE} ${liveId}`)
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error
    if (error.codes.includes(SECRETS_CHANGED))
      throw new UserError(
        error.message,
        `If that version works with the current secrets, run: npx wrangler rollback ${wantedId}`,
      )
    // If the answer is lost, the list of deployments shows whether the call took effect.
    if (error.isCertain || (await listDeployments(platform, name))[0]?.versions[0]?.version_id !== wantedId) throw error
  }
}

const described = ({ id, annotations, metadata }: Version): string =>
  `version ${id} (${annotations?.['workers/tag'] ?? 'no tag'}, created ${metadata?.created_on ?? 'at an unknown time'})`
