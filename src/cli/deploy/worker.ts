import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { migrateShards, migrationStatus } from '../migrations/migrate.ts'
import { migratedDatabase, remoteShards } from '../migrations/remote-shards.ts'
import { readMigrations } from '../migrations/shard-migrations.ts'
import { findQueue, putObject, readObject } from '../platform/resources.ts'
import {
  findVersion,
  isOnWorkersDev,
  listDeployments,
  listSchedules,
  secretNames,
  type Version,
} from '../platform/worker.ts'
import { UserError } from '../shell/errors.ts'
import { AT_ONCE_MAX, inParallel } from '../shell/in-parallel.ts'
import { readConfig, significantText } from '../wrangler/config.ts'
import type { ShardBinding } from '../wrangler/shard-bindings.ts'
import type { Deployment } from './deployment.ts'
import type { Step } from './steps.ts'

const SECRET_BYTES = 32
const TAG_DIGITS = 16

/** Migrates every shard. The first goes alone, so that a bad migration fails in one database only. */
export function migrationStep(deployment: Deployment): Step {
  const migrations = readMigrations()
  return {
    name: 'migrations',
    done: 'applied',
    async look() {
      const { shards } = readConfig(deployment.readConfigText())
      const found = shards.map(({ binding }) =>
        migratedDatabase(deployment, binding, deployment.databaseIds.get(binding) ?? null),
      )
      const statuses = await migrationStatus(found, migrations, AT_ONCE_MAX)
      const behind = statuses.filter(({ pending }) => pending.length > 0)
      return {
        lacking: behind.map(({ binding, pending }) => `${pending.length} to ${binding}`),
        async carryOut() {
          const onProgress = (_done: number, _all: number, said: string) => deployment.say(`  ${said}`)
          // Looked up again, because the previous step may have created databases.
          const shards = await remoteShards(deployment)
          const { failed } = await migrateShards(shards, {
            migrations,
            canary: null,
            atOnceMax: AT_ONCE_MAX,
            onProgress,
          })
          const [first] = failed
          if (first)
            throw new UserError(
              `${first.migration} failed on ${first.binding}, and was not applied there: ${first.reason}`,
              'No other shard was started after it. Fix the migration, and run the command again to resume.',
            )
        },
      }
    },
  }
}

/** Uploads the static files before the version that names them is live. Those of earlier versions stay. */
export function assetStep(deployment: Deployment): Step {
  const { platform } = deployment
  return {
    name: 'static files',
    done: 'uploaded',
    async look() {
      const [bucket] = readConfig(deployment.readConfigText()).buckets
      if (!bucket)
        throw new UserError('The configuration binds no R2 bucket.', 'Bind one as BUCKET in the configuration.')
      const files = await deployment.staticFiles()
      const stored = await inParallel(files, async (file) => {
        const bytes = await readObject(platform, bucket, file.key)
        return { file, isStored: bytes !== null && Buffer.from(bytes).equals(readFileSync(file.path)) }
      })
      const missing = stored.filter(({ isStored }) => !isStored).map(({ file }) => file)
      return {
        lacking: missing.map(({ key }) => key.replace('static/', '')),
        async carryOut() {
          await inParallel(missing, ({ key, path: file, contentType }) =>
            putObject(platform, bucket, key, {
              bytes: readFileSync(file),
              contentType,
              cacheControl: 'public, max-age=31536000, immutable',
            }),
          )
        },
      }
    },
  }
}

export interface VersionOptions {
  address(): string
  /** The token to set if the application has none. If undefined, one is generated. */
  operatorToken: string | undefined
  /** Bindings of the live map's shards; null if no token is known for the request. */
  mapBindings(): Promise<string[] | null>
}

/** Uploads a version if the live one was built from other sources, or lacks a secret. */
export function versionStep(deployment: Deployment, { address, operatorToken, mapBindings }: VersionOptions): Step {
  const { platform, wrangler, drawn } = deployment
  return {
    name: 'Worker',
    done: 'deployed',
    async look() {
      const text = deployment.readConfigText()
      const { name, publicOrigin, shards } = readConfig(text)
      const vars: Record<string, string> = publicOrigin ? {} : { PUBLIC_ORIGIN: address() }
      const fingerprint = createHash('sha256')
        .update(JSON.stringify([await wrangler.bundle(), significantText(text), vars]))
        .digest('hex')
      const tag = `${name}-${fingerprint.slice(0, TAG_DIGITS)}`
      const live = await liveVersion(deployment, name)
      if (live) await refuseLostShards(live, shards, deployment.databaseIds, mapBindings)
      const secrets = await secretNames(platform, name)
      const unset = ['SIGNING_KEY', 'OPERATOR_TOKEN'].filter((secret) => !secrets.includes(secret))
      const isSame = live?.annotations?.['workers/tag'] === tag
      return {
        lacking: [...(isSame ? [] : [`version ${tag}`]), ...unset.map((secret) => `its ${secret}`)],
        async carryOut() {
          if (unset.length > 0) draw(deployment, unset, operatorToken)
          const secretsFile = unset.length > 0 ? drawn.file : null
          await wrangler.deploy({ tag, message: `banyan deploy of ${tag}`, vars, secretsFile })
        },
      }
    },
  }
}

/** Generates values for secrets that are not set. Reuses values of an interrupted run, which may have set them. */
function draw({ drawn }: Deployment, unset: string[], operatorToken: string | undefined): void {
  const before = drawn.read()
  const value = (name: string) =>
    (name === 'OPERATOR_TOKEN' ? operatorToken : undefined) ??
    before[name] ??
    randomBytes(SECRET_BYTES).toString('base64url')
  drawn.write(Object.fromEntries(unset.map((name) => [name, value(name)])))
}

/** The version with all the traffic; null if nothing is deployed. Throws UserError during a gradual deployment. */
export async function liveVersion({ platform }: Pick<Deployment, 'platform'>, name: string): Promise<Version | null> {
  const [newest] = await listDeployments(platform, name)
  const [live, ...others] = newest?.versions ?? []
  if (!live) return null
  if (others.length > 0)
    throw new UserError(
      'A gradual deployment is in progress, so two versions share the traffic.',
      'Complete it first: npx wrangler versions deploy',
    )
  return findVersion(platform, name, live.version_id)
}

/** A version's shards: database ids by binding. */
export const shardsOfVersion = ({ resources }: Version): Map<string, string> =>
  new Map(
    resources.bindings
      .filter(({ type, name }) => type === 'd1' && /^SHARD_\d{3}$/.test(name))
      .map(({ name, id }) => [name, id ?? '']),
  )

/** Throws UserError if the map still has a shard that the new version would not bind: its users would get errors. */
async function refuseLostShards(
  live: Version,
  shards: ShardBinding[],
  ids: Map<string, string>,
  mapBindings: VersionOptions['mapBindings'],
): Promise<void> {
  for (const [binding, id] of shardsOfVersion(live)) {
    const isBound = shards.some((shard) => shard.binding === binding)
    if (isBound && (ids.get(binding) ?? id) === id) continue
    if (isBound)
      throw new UserError(
        `The live version binds ${binding} to the database ${id}, but the configuration binds it to another one.`,
        `Write ${id} as its database_id in the configuration, because the users’ data is in that database.`,
      )
    const inMap = await mapBindings()
    if (inMap && !inMap.includes(binding)) continue
    throw new UserError(
      `The live version binds ${binding} (database ${id}), but the configuration does not.`,
      inMap
        ? 'Bind it again, because the map names it and its users would get errors. To remove the shard first: npm run banyan -- shards drain, then shards remove'
        : 'Bind it again, or pass --token so that the command can check whether the map still has the shard.',
    )
  }
}

/** Sets what calls the Worker: cron, queues and its address. An upload does so too, unless it was interrupted. */
export function triggerStep(deployment: Deployment): Step {
  const { platform } = deployment
  return {
    name: 'triggers',
    done: 'set',
    async look() {
      const { name, crons, consumedQueues, workersDev } = readConfig(deployment.readConfigText())
      const schedules = await listSchedules(platform, name)
      const queues = await inParallel(consumedQueues, async (queue) => {
        const { consumers = [] } = (await findQueue(platform, queue)) ?? {}
        const isConsumed = consumers.some((one) => [one.script, one.service, one.script_name].includes(name))
        return { queue, isConsumed }
      })
      const isReachable = !workersDev || (await isOnWorkersDev(platform, name))
      return {
        lacking: [
          ...crons.filter((cron) => !schedules.includes(cron)).map((cron) => `cron ${cron}`),
          ...queues.filter(({ isConsumed }) => !isConsumed).map(({ queue }) => `consumer of ${queue}`),
          ...(isReachable ? [] : ['its address on workers.dev']),
        ],
        carryOut: () => deployment.wrangler.deployTriggers(),
      }
    },
  }
}
