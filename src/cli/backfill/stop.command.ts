import type { Backfill } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { percentOf } from './follow-backfill.ts'
import { backfillAt } from './requests.ts'

export const command = defineCommand({
  name: 'backfill stop',
  summary: 'pauses a backfill, which keeps its position',
  details:
    'Idempotent. Its jobs stop after their current turns, within about 10 seconds. `backfill run` resumes it within a minute.',
  operands: [{ name: 'NAME', help: 'name of the backfill, from backfill list' }],
  examples: ['backfill stop names'],
  async run(connect, [name]) {
    const stopped = await connect().patch<Backfill>(backfillAt(name), { paused: true })
    const text =
      stopped.state === 'paused'
        ? `${name} is paused at ${percentOf(stopped)}. To resume it: npm run banyan -- backfill run ${name}`
        : `${name} does not run. Its state is ${stopped.state}.`
    return { json: stopped, text }
  },
})
