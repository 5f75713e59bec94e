import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OneShard, Shard } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { counted } from '../shell/table.ts'
import { nextShardNumber, numberedShards, type ShardBinding, withMoreShards } from '../wrangler/shard-bindings.ts'
import { listShards, SHARDS } from './requests.ts'
import type { ShardHost } from './shard-host.ts'

export const SHARDS_AT_ONCE_MAX = 16
const SHARDS_MAX = 1_000
const LIVE_MS = 120_000
const POLL_MS = 500

/**
 * Databases, migrations, bindings, and then the directory: in this order, so that a shard joins when the live version has
 * its binding. Bindings that a run before has left without a shard are gone on with first.
 */
export async function addShards(host: ShardHost, count: number): Promise<Output> {
  const { connection } = host
  const bound = host.bound(readFileSync(host.configPath, 'utf8'))
  const { items } = await listShards(connection)
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
    const shard = await join(connection, binding)
    shards.push(shard)
    say(`${binding} is ${shard.id}, with no slots yet.`)
  }
  return {
    json: { shards },
    text: `${counted(shards.length, 'shard')} added. They get their slots by: npm run banyan -- rebalance`,
  }
}

/** Asks until the live version has the binding. That a server restarts for it is part of the waiting. */
async function join(connection: Connection, binding: string): Promise<Shard> {
  for (const deadline = performance.now() + LIVE_MS; ; ) {
    try {
      return (await connection.post<OneShard>(SHARDS, { binding })).shard
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

export const names = (shards: ShardBinding[]): string => shards.map(({ binding }) => binding).join(', ')
export const say = (text: string) => void process.stderr.write(`${text}\n`)
