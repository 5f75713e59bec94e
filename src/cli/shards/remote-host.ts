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

/** The deployed application that the configuration is of. Throws UserError where there is none, or another is meant. */
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
 * Where the live application answers, found as `deploy` finds it. Throws UserError where nothing is deployed yet, and
 * where `usual`, the address that commands usually go to, is another application's.
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
      `BANYAN_URL is ${usual}, and the configuration’s application is at ${address}.`,
      'Which one is meant? Name it with --url, and its configuration with --config.',
    )
  return address
}

/** A deployment does the most of it: it makes what the configuration names, migrates it, and makes the version live. */
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
      // All are looked at before any is made: in a wrong account, or elsewhere than it should be, none is.
      await inParallel(shardBindings(deployment.readConfigText()), find)
      const found = await inParallel(shards, async (shard) => ({ name: shard.databaseName, id: await find(shard) }))
      for (const { name, id } of found) if (id !== null) await refuseElsewhere(platform, { name, id }, location)
      for (const { name, id } of found) {
        if (id !== null) continue
        await makeOne(kind, platform, name)
        say(`Made the database ${name}.`)
      }
    },
    async release() {
      await deploy(deployment, { url: connection.url, operatorToken, isDryRun: false, screen: process.stderr })
    },
  }
}
