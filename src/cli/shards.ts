import type { Connection } from './client.ts'
import type { Command, Output } from './command.ts'
import { bytes, counted, table } from './table.ts'

interface Shard {
  id: string
  binding: string
  state: string
  slots: number
  bytes: number
  users: number
  queriesPerSecond: number
}

/** `shards list`: a row a shard, and how even they are. */
async function listShards(connect: () => Connection): Promise<Output> {
  const answer = await connect().get<{ epoch: number; items: Shard[] }>('/operator/v1/shards')
  const rows = answer.items.map((shard) => [
    shard.id,
    shard.binding,
    shard.state,
    String(shard.slots),
    String(shard.users),
    bytes(shard.bytes),
    shard.queriesPerSecond.toFixed(2),
  ])
  const head = ['shard', 'binding', 'state', 'slots', 'users', 'size', 'queries/s']
  const users = answer.items.map((shard) => shard.users)
  const total = users.reduce((sum, count) => sum + count, 0)
  const unevenness =
    total === 0 ? '' : `, the fullest has ${(Math.max(...users) / (total / users.length)).toFixed(2)} of the mean`
  const summary = `epoch ${answer.epoch}, ${counted(users.length, 'shard')}, ${counted(total, 'user')}${unevenness}`
  return { json: answer, text: `${table(head, rows, 3)}\n\n${summary}` }
}

export const shardCommands: Record<string, Command> = {
  'shards list': { operands: [], options: [], run: listShards },
}
