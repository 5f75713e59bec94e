import { setTimeout as sleep } from 'node:timers/promises'
import { deploy } from '../deploy/deploy.ts'
import { addressOf, type Deployment, openDeployment } from '../deploy/deployment.ts'
import { findConfigured } from '../deploy/resources.ts'
import { liveVersion } from '../deploy/worker.ts'
import { databasesAt, type Location, makeOne, refuseElsewhere } from '../platform/resources.ts'
import { isLocal, readAddress } from '../shell/address.ts'
import { type Connection, connect } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'
import { inParallel } from '../shell/in-parallel.ts'
import { readConfig } from '../wrangler/config.ts'
import { shardBindings } from '../wrangler/shard-bindings.ts'
import type { ShardHost } from './shard-host.ts'

interface RemoteHostOptions {
  connection: Connection
  operatorToken: string | undefined
  location: Location
}

/**
 * The configuration's deployed application. Throws UserError if there is none, or if BANYAN_URL is another's address.
 */
export async function openRemoteHost(
  options: { url?: string | undefined; token?: string | undefined; config?: string | undefined },
  location: Location,
  say: (line: string) => void,
): Promise<ShardHost> {
  const deployment = openDeployment({ config: options.config, environment: process.env, sleep, say })
  const address = await liveAddress(deployment, options.url, process.env.BANYAN_URL)
  const operatorToken = options.token || process.env.BANYAN_TOKEN || undefined
  return remoteHost(deployment, {
    connection: connect({ url: address, token: options.token }),
    operatorToken,
    location,
  })
}

/**
 * The live application's address, found as `deploy` finds it. Throws UserError if nothing is deployed yet, or if
 * `usual`, the default address of commands, belongs to another application.
 */
export async function liveAddress(
  deployment: Deployment,
  url: string | undefined,
  usual: string | undefined,
): Promise<string> {
  const config = readConfig(deployment.readConfigText())
  if ((await liveVersion(deployment, config.name)) === null)
    throw new UserError(`${config.name} is not deployed yet.`, 'Deploy it first: npm run deploy')
  const address = await addressOf(deployment.platform, config, url)
  const isOther = !url && usual && !isLocal(usual) && readAddress(usual).origin !== address
  if (isOther)
    throw new UserError(
      `BANYAN_URL is ${usual}, but the configuration’s application is at ${address}.`,
      'Pass the address of the one you mean with --url, and its configuration with --config.',
    )
  return address
}

/** A deployed application. `release` runs a deployment, which also migrates the new databases. */
export function remoteHost(
  deployment: Deployment,
  { connection, operatorToken, location }: RemoteHostOptions,
): ShardHost {
  const { platform, configPath, say } = deployment
  const kind = databasesAt(location)
  const find = ({ databaseName: name, databaseId: configuredId }: { databaseName: string; databaseId: string }) =>
    findConfigured(kind, platform, { name, configuredId })
  return {
    configPath,
    connection,
    bound: shardBindings,
    async prepare(shards) {
      // Check all databases before creating any, so that nothing is created in a wrong account or location.
      await inParallel(shardBindings(deployment.readConfigText()), find)
      const found = await inParallel(shards, async (shard) => ({ name: shard.databaseName, id: await find(shard) }))
      for (const { name, id } of found) if (id !== null) await refuseElsewhere(platform, { name, id }, location)
      for (const { name, id } of found) {
        if (id !== null) continue
        await makeOne(kind, platform, name)
        say(`Created the database ${name}.`)
      }
    },
    async release() {
      await deploy(deployment, { url: connection.url, operatorToken, isDryRun: false, screen: process.stderr })
      if (readConfig(deployment.readConfigText()).replicas)
        say('New databases have no replicas yet. To enable them: npm run banyan -- replicas enable --remote')
    },
  }
}
