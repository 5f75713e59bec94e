import type { ShardList } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { bytes, counted, table } from '../shell/table.ts'
import { listShards } from './requests.ts'

export const command = defineCommand({
  name: 'shards list',
  summary: 'lists the shards with their slots, users, sizes and load',
  examples: ['shards list --url https://banyan.example.com'],
  async run(connect) {
    const answer = await listShards(connect())
    const rows = answer.items.map((shard) => [
      shard.id,
      shard.binding,
      shard.state,
      String(shard.slots),
      shard.users === null ? '–' : String(shard.users),
      shard.bytes === null ? '–' : bytes(shard.bytes),
      shard.queriesPerSecond.toFixed(2),
    ])
    // Earlier versions do not send usersEstimated.
    const users = answer.items.some((shard) => shard.usersEstimated) ? 'users (estimated)' : 'users'
    const head = ['shard', 'binding', 'state', 'slots', users, 'size', 'queries/s']
    return { json: answer, text: `${table(head, rows, 3)}\n\n${summary(answer)}` }
  },
})

function summary({ epoch, items }: ShardList): string {
  const users = items.flatMap((shard) => shard.users ?? [])
  const total = users.reduce((sum, count) => sum + count, 0)
  const unevenness =
    total === 0
      ? ''
      : `, the fullest shard has ${(Math.max(...users) / (total / users.length)).toFixed(2)} times the mean`
  const silent = items.filter((shard) => shard.users === null).map(({ id }) => id)
  const unknown = silent.length === 0 ? '' : `; not counted, because they do not answer: ${silent.join(', ')}`
  const estimated = items.some((shard) => shard.usersEstimated) ? ' (estimated)' : ''
  return `epoch ${epoch}, ${counted(items.length, 'shard')}, ${counted(total, 'user')}${estimated}${unevenness}${unknown}`
}
