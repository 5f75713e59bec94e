import { defineCommand } from '../shell/command.ts'
import { counted, table } from '../shell/table.ts'
import { databaseOptions } from '../wrangler/local-options.ts'
import { withShards } from './chosen-shards.ts'
import { migrationStatus } from './migrate.ts'
import { readMigrations } from './shard-migrations.ts'

const AT_ONCE = 6

export const command = defineCommand({
  name: 'migrations status',
  summary: 'shows the newest migration of each shard’s database and the missing ones; changes nothing',
  options: databaseOptions,
  async run(_connect, _operands, options) {
    const statuses = await withShards(options, (shards) => migrationStatus(shards, readMigrations(), AT_ONCE))
    const rows = statuses.map(({ binding, newest, pending }) => [binding, newest ?? 'none', pending.join(', ') || '–'])
    const lagging = statuses.filter(({ pending }) => pending.length > 0)
    const summary =
      lagging.length === 0
        ? `${counted(statuses.length, 'shard')}, all with the newest migration.`
        : `${lagging.length} of ${counted(statuses.length, 'shard')} lack migrations. To apply them: npm run banyan -- migrations apply${options.remote ? ' --remote' : ''}`
    return { json: { items: statuses }, text: `${table(['shard', 'newest', 'pending'], rows, 3)}\n\n${summary}` }
  },
})
