import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { migrateShards } from '../migrations/migrate.ts'
import { localConfig, refuseLocalOptions } from '../migrations/migrations.ts'
import { readMigrations } from '../migrations/shard-migrations.ts'
import { type Location, locationOf } from '../platform/resources.ts'
import { isLocal } from '../shell/address.ts'
import { addressOf, type Connection } from '../shell/client.ts'
import type { Command, Output } from '../shell/command.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import type { OptionValues } from '../shell/options.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { counted } from '../shell/table.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { withDatabases } from '../wrangler/local-shards.ts'
import {
  localBindings,
  nextShardNumber,
  numberedShards,
  type ShardBinding,
  withMoreShards,
} from '../wrangler/shard-bindings.ts'
import { openRemoteHost } from './remote-host.ts'

const SHARDS_AT_ONCE_MAX = 16
const SHARDS_MAX = 1_000
const LIVE_MS = 120_000
const POLL_MS = 500

interface Shard {
  id: string
  binding: string
}

/** Where the databases are made, and how the live version comes to have their bindings. */
export interface ShardHost {
  configPath: string
  /** To the application that they join. */
  connection: Connection
  /** The shards of a configuration, with the ids that are used there. */
  bound(text: string): ShardBinding[]
  /** Databases that are there and migrated, when it resolves. */
  prepare(shards: ShardBinding[]): Promise<void>
  /** After the configuration binds them: the version that does is live, or will be without further ado. */
  release(): Promise<void>
}

async function run(connect: () => Connection, _operands: string[], options: OptionValues): Promise<Output> {
  const count = wholeNumber('--count', options.count ?? '1', 1, SHARDS_AT_ONCE_MAX)
  const location = locationOf(options)
  const isRemote = options.remote || !isLocal(addressOf(options))
  if (isRemote) refuseLocalOptions(options)
  const host = isRemote ? await openRemoteHost(options, location, say) : localHost(connect, options, location)
  return addShards(host, count)
}

/**
 * Databases, migrations, bindings, and then the directory: in this order, so that a shard joins when the live version has
 * its binding. Bindings that a run before has left without a shard are gone on with first.
 */
export async function addShards(host: ShardHost, count: number): Promise<Output> {
  const { connection } = host
  const bound = host.bound(readFileSync(host.configPath, 'utf8'))
  const { items } = await connection.get<{ items: Shard[] }>('/operator/v1/shards')
  const waiting = bound.filter(({ binding }) => !items.some((shard) => shard.binding === binding)).slice(0, count)
  const next = nextShardNumber(bound)
  if (next + count > SHARDS_MAX)
    throw new UserError(`There are ${next} shards.`, `${SHARDS_MAX} is the most there can be.`)
  const fresh = numberedShards(next, count - waiting.length, bound)
  const added = [...waiting, ...fresh]
  if (waiting.length > 0) say(`Going on with ${names(waiting)}, bound and not yet a shard.`)
  await host.prepare(added)
  if (fresh.length > 0) {
    // Read again, since making and migrating took a while: what was written there meanwhile stays. wrangler dev reads it
    // as soon as it changes, and ends where it is empty.
    replaceFile(host.configPath, withMoreShards(readFileSync(host.configPath, 'utf8'), fresh))
    say(`Bound ${names(fresh)} in ${path.relative(process.cwd(), host.configPath)}.`)
  }
  await host.release()
  const shards: Shard[] = []
  for (const { binding } of added) {
    shards.push(await join(connection, binding))
    say(`${binding} is ${shards.at(-1)!.id}, with no slots yet.`)
  }
  return {
    json: { shards },
    text: `${counted(shards.length, 'shard')} added. They get their slots by: npm run banyan -- rebalance`,
  }
}

/** `npm run dev` takes a changed configuration by itself. */
function localHost(connect: () => Connection, options: OptionValues, location: Location): ShardHost {
  if (location.hint || location.jurisdiction)
    throw new UserError('A local database has no location.', 'Leave --location and --jurisdiction out.')
  const { configPath, persistTo } = localConfig(options)
  return {
    configPath,
    connection: connect(),
    bound: localBindings,
    async prepare(shards) {
      await withDatabases(shards, persistTo, migrateNew)
      say(`Migrated ${names(shards)}.`)
    },
    release: async () => say('Waiting for the version that has all of them.'),
  }
}

async function migrateNew(databases: Parameters<typeof migrateShards>[0]): Promise<void> {
  const onProgress = () => undefined
  const options = { migrations: readMigrations(), canary: null, atOnceMax: SHARDS_AT_ONCE_MAX, onProgress }
  const [failed] = (await migrateShards(databases, options)).failed
  if (failed)
    throw new UserError(
      `${failed.migration} failed on ${failed.binding}: ${failed.reason}`,
      'Mend it, and run it again.',
    )
}

/** Asks until the live version has the binding. That a server restarts for it is part of the waiting. */
async function join(connection: Connection, binding: string): Promise<Shard> {
  for (const deadline = performance.now() + LIVE_MS; ; ) {
    try {
      return (await connection.post<{ shard: Shard }>('/operator/v1/shards', { binding })).shard
    } catch (error) {
      const isWaiting = error instanceof NotNow || (error instanceof UserError && error.code === 'INVALID')
      if (!isWaiting || performance.now() > deadline) throw isWaiting ? gaveUp(binding, error as UserError) : error
      await sleep(error instanceof NotNow ? Math.max(POLL_MS, error.retryAfterMs) : POLL_MS)
    }
  }
}

const gaveUp = (binding: string, { message }: UserError) =>
  new UserError(
    `After ${LIVE_MS / 1_000} s the live version does not have ${binding}: ${message}`,
    'Locally: does npm run dev use this wrangler.toml? Deployed: npm run deploy. Then run it again: it goes on from here.',
  )

const names = (shards: ShardBinding[]): string => shards.map(({ binding }) => binding).join(', ')
const say = (text: string) => void process.stderr.write(`${text}\n`)

export const addShardCommands: Record<string, Command> = {
  'shards add': {
    operands: [],
    options: ['count', 'location', 'jurisdiction', 'remote', 'config', 'persist-to', 'shards'],
    run,
  },
}
