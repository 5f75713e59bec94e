import { defineCommand } from '../shell/command.ts'
import { lineOf } from './follow-backfill.ts'
import { readBackfill } from './requests.ts'

export const command = defineCommand({
  name: 'backfill status',
  summary: 'shows the state and progress of a backfill’s latest run',
  operands: [{ name: 'NAME', help: 'name of the backfill, from backfill list' }],
  examples: ['backfill status names'],
  async run(connect, [name]) {
    const backfill = await readBackfill(connect(), name)
    return { json: backfill, text: lineOf(backfill) }
  },
})
