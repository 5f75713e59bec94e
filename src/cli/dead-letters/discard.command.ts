import { defineCommand } from '../shell/command.ts'
import { confirm } from '../shell/confirm.ts'
import { counted } from '../shell/table.ts'
import { filterOf, idOperands, leftText, takeLetters } from './requests.ts'

export const command = defineCommand({
  name: 'dead-letters discard',
  summary: 'gives up dead jobs permanently, so their effect never happens',
  details:
    'Asks for a confirmation unless --yes is passed. Deletes the letters and their outbox rows. Harmless if repeated.',
  operands: idOperands,
  options: {
    kind: { value: 'KIND', help: 'discards all letters of this kind (default: those with the ids)' },
    yes: { help: 'discard without asking for a confirmation' },
  },
  examples: ['dead-letters discard 4a0101kdq3…', 'dead-letters discard --kind cache.purge --yes'],
  async run(connect, ids, { kind, yes }) {
    const filter = filterOf('discard', ids, kind)
    const ofKind = kind === undefined ? '' : ` of kind ${kind}`
    const which = ids.length > 0 ? counted(ids.length, 'dead letter') + ofKind : `All dead letters${ofKind}`
    const connection = connect()
    if (!yes) await confirm(`${which} will be discarded permanently.`)
    const taken = await takeLetters(connection, 'discard', filter)
    const isFailure = taken.failed.length > 0 || taken.remaining || (ids.length > 0 && taken.count === 0)
    const text = taken.count > 0 ? `${counted(taken.count, 'dead letter')} discarded.` : 'No dead letter was discarded.'
    return { json: taken, text: text + leftText(taken), isFailure }
  },
})
