import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'
import { percentOf } from './follow-backfill.ts'
import { listBackfills } from './requests.ts'

export const command = defineCommand({
  name: 'backfill list',
  summary: 'lists the backfills with the state and progress of their latest runs',
  async run(connect) {
    const answer = await listBackfills(connect())
    const rows = answer.items.map((item) => [item.name, item.table, item.state, percentOf(item)])
    const text =
      rows.length === 0
        ? 'No noun of this version registers a backfill.'
        : table(['name', 'table', 'state', 'done'], rows, 3)
    return { json: answer, text }
  },
})
