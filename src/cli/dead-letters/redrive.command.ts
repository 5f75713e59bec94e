import { defineCommand } from '../shell/command.ts'
import { counted } from '../shell/table.ts'
import { filterOf, idOperands, leftText, takeLetters } from './requests.ts'

export const command = defineCommand({
  name: 'dead-letters redrive',
  summary: 'lets dead jobs run again, with all of their attempts',
  details:
    'Harmless if repeated: a job that runs again has no letter. Redrive the parts of a job before the job itself. Jobs older than 29 days stay, because their effect could happen twice.',
  operands: idOperands,
  options: { kind: { value: 'KIND', help: 'redrives all letters of this kind (default: those with the ids)' } },
  examples: ['dead-letters redrive --kind cache.purge', 'dead-letters redrive 4a0101kdq3…'],
  async run(connect, ids, { kind }) {
    const filter = filterOf('redrive', ids, kind)
    const taken = await takeLetters(connect(), 'redrive', filter)
    const isFailure = taken.failed.length > 0 || taken.remaining || (ids.length > 0 && taken.count === 0)
    const none = 'No job runs again.'
    const text = taken.count > 0 ? `${counted(taken.count, 'job')} will run again.` : none
    return { json: taken, text: text + leftText(taken), isFailure }
  },
})
