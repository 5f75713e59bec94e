import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from './client.ts'
import type { Command, Output } from './command.ts'
import { NotNow, UserError } from './errors.ts'
import { withDatabases } from './local-shards.ts'
import { migrateShards } from './migrate.ts'
import { localConfig } from './migrations.ts'
import type { OptionValues } from './options.ts'
import { replaceFile } from './replace-file.ts'
import { readMigrations } from './shard-migrations.ts'
import { counted } from './table.ts'
import { wholeNumber } from './whole-number.ts'
import { localBindings, localShards, nextShardNumber, type ShardBinding, withMoreShards } from './wrangler-config.ts'

const SHARDS_AT_ONCE_MAX = 16
const SHARDS_MAX = 1_000
const LIVE_MS = 120_000
const POLL_MS = 500

interface Shard {
  id: string
  binding: string
}

/**
 * Databases, migrations, bindings, and then the directory: in this order, so that a shard joins when the live version has
 * its binding. Bindings that a run before has left without a shard are gone on with first.
 */
async function addShards(connect: () => Connection, _operands: string[], options: OptionValues): Promise<Output> {
  const count = wholeNumber('--count', options.count ?? '1', 1, SHARDS_AT_ONCE_MAX)
  const connection = connect()
  const { configPath, persistTo } = localConfig(options)
  const text = readFileSync(configPath, 'utf8')
  const bound = localBindings(text)
  const { items } = await connection.get<{ items: Shard[] }>('/operator/v1/shards')
  const waiting = bound.filter(({ binding }) => !items.some((shard) => shard.binding === binding)).slice(0, count)
  const next = nextShardNumber(bound)
  if (next + count > SHARDS_MAX)
    throw new UserError(`There are ${next} shards.`, `${SHARDS_MAX} is the most there can be.`)
  const fresh = localShards(next, count - waiting.length)
  const added = [...waiting, ...fresh]
  if (waiting.length > 0) say(`Going on with ${names(waiting)}, bound and not yet a shard.`)
  await migrate(added, persistTo)
  say(`Migrated ${names(added)}.`)
  if (fresh.length > 0) {
    // wrangler dev reads it as soon as it changes, and ends where it is empty.
    replaceFile(configPath, withMoreShards(text, fresh))
    say(
      `Bound ${names(fresh)} in ${path.relative(process.cwd(), configPath)}. Waiting for the version that has ${fresh.length === 1 ? 'it' : 'them'}.`,
    )
  }
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

async function migrate(shards: ShardBinding[], persistTo: string): Promise<void> {
  const run = await withDatabases(shards, persistTo, (databases) =>
    migrateShards(databases, {
      migrations: readMigrations(),
      canary: null,
      atOnceMax: SHARDS_AT_ONCE_MAX,
      onProgress: () => undefined,
    }),
  )
  const [failed] = run.failed
  if (failed)
    throw new UserError(
      `${failed.migration} failed on ${failed.binding}: ${failed.reason}`,
      'Mend it, and run it again.',
    )
}

/** Asks until the live version has the binding. That a server restarts for it is part of the waiting. */
async function join(connection: Connection, binding: string): Promise<Shard> {
  for (const deadline = performance.now() + LIVE_MS; ; await sleep(POLL_MS)) {
    try {
      return (await connection.post<{ shard: Shard }>('/operator/v1/shards', { binding })).shard
    } catch (error) {
      const isWaiting = error instanceof NotNow || (error instanceof UserError && error.code === 'INVALID')
      if (!isWaiting || performance.now() > deadline) throw isWaiting ? gaveUp(binding, error as UserError) : error
    }
  }
}

const gaveUp = (binding: string, { message }: UserError) =>
  new UserError(
    `After ${LIVE_MS / 1_000} s the live version does not have ${binding}: ${message}`,
    'Locally: does npm run dev use this wrangler.toml? Deployed: npx wrangler deploy. Then run it again: it goes on from here.',
  )

const names = (shards: ShardBinding[]): string => shards.map(({ binding }) => binding).join(', ')
const say = (text: string) => process.stderr.write(`${text}\n`)

export const addShardCommands: Record<string, Command> = {
  'shards add': { operands: [], options: ['count', 'config', 'persist-to', 'shards'], run: addShards },
}
