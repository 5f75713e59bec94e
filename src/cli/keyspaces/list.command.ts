import type { KeyspaceList } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'
import { listKeyspaces } from './requests.ts'

export const command = defineCommand({
  name: 'keyspaces list',
  summary: 'lists the table groups with their tables, the shards that have their slots, and their placements',
  async run(connect) {
    const answer = await listKeyspaces(connect())
    return { json: answer, text: answer.items.map(described).join('\n\n') }
  },
})

function described({ name, tables, shards, placement }: KeyspaceList['items'][number]): string {
  const head = `${name}${placement === null ? '' : `, placed on ${placement}`}: ${tables.join(', ') || 'no tables'}`
  if (shards.length === 0)
    return `${head}\nIts slots are not assigned yet. If that persists, find keyspace.unassigned in the logs: npx wrangler tail --format json`
  return `${head}\n${table(
    ['shard', 'slots'],
    shards.map(({ id, slots }) => [id, slots.toLocaleString('en')]),
    1,
  )}`
}
