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
 * Creates and migrates databases, binds them, and then registers the shards. In this order, a shard joins only when the
 * live version has its binding. Bindings that an interrupted run left without a shard come first.
 */
export async function addShards(host: ShardHost, count: number): Promise<Output> {
  const { connection } = host
  const bound = host.bound(readFileSync(host.configPath, 'utf8'))
  const { items } = await listShards(connection)
  const waiting = bound.filter(({ binding }) => !items.some((shard) => shard.binding === binding)).slice(0, count)
  const next = nextShardNumber(bound)
  if (next + count > SHARDS_MAX)
    throw new UserError(
      `The configuration binds shards up to number ${next - 1}, so ${count} more exceed the limit of ${SHARDS_MAX}.`,
      'Pass a smaller --count.',
    )
  const fresh = numberedShards(next, count - waiting.length, bound)
  const added = [...waiting, ...fresh]
  if (waiting.length > 0) say(`Resuming with ${names(waiting)}: bound, but not a shard yet.`)
  await host.prepare(added)
  if (fresh.length > 0) {
    // Read again, to keep edits made during the migrations. The file is replaced at once, because wrangler dev reads it
    // as soon as it changes and exits if it is empty.
    replaceFile(host.configPath, withMoreShards(readFileSync(host.configPath, 'utf8'), fresh))
    say(`Bound ${names(fresh)} in ${path.relative(process.cwd(), host.configPath)}.`)
  }
  await host.release()
  const shards: Shard[] = []
  for (const { binding } of added) {
    const shard = await join(connection, binding)
    shards.push(shard)
    say(`${binding} is now ${shard.id}, without slots.`)
  }
  return {
    json: { shards },
    text: `Added ${counted(shards.length, 'shard')}. To give them slots: npm run banyan -- rebalance`,
  }
}

/** Retries until the live version has the binding. The server may restart meanwhile. */
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
    `The live version still lacks ${binding} after ${LIVE_MS / 1_000} s: ${message}`,
    'Locally, check that npm run dev uses this wrangler.toml. Deployed, run npm run deploy. Then run the command again to resume.',
  )

export const names = (shards: ShardBinding[]): string => shards.map(({ binding }) => binding).join(', ')
export const say = (text: string) => void process.stderr.write(`${text}\n`)
