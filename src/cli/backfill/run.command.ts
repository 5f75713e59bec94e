import type { Backfill } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { followBackfill, percentOf } from './follow-backfill.ts'
import { backfillAt, readBackfill } from './requests.ts'

export const command = defineCommand({
  name: 'backfill run',
  summary: 'starts or resumes a backfill and shows its progress until it is done',
  details:
    'Idempotent: it watches a run that is not over, and resumes a run that `backfill stop` has paused. A backfill that ' +
    'is done runs again; its guard passes over the changed rows.',
  operands: [{ name: 'NAME', help: 'name of the backfill, from backfill list' }],
  options: { 'no-wait': { help: 'start it and exit; it continues by itself' } },
  examples: ['backfill run names', 'backfill run names --no-wait'],
  async run(connect, [name], { 'no-wait': isLeft = false }) {
    const connection = connect()
    const started = await connection.post<Backfill>(backfillAt(name))
    if (isLeft)
      return { json: started, text: `${name}: ${started.state}. See: npm run banyan -- backfill status ${name}` }
    const read = () => readBackfill(connection, name)
    const ended = await followBackfill(started, { read, screen: process.stderr })
    return { json: ended, text: outcome(ended), isFailure: ended.state !== 'done' }
  },
})

function outcome(backfill: Backfill): string {
  const { name, table, state } = backfill
  if (state === 'done') return `${name} is done: every row of ${table} was visited.`
  if (state === 'dead')
    return `${name} failed at ${percentOf(backfill)}. Find the reason in the log event job.dead, fix it, and run the command again.`
  return `${name} is ${state} at ${percentOf(backfill)}. To resume it: npm run banyan -- backfill run ${name}`
}
