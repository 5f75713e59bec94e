import type { MoveSides, OneMove } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { sidesText, watch } from './move-text.ts'
import { moveAt, moveOperand } from './requests.ts'

export const command = defineCommand({
  name: 'moves resolve',
  summary: 'shows the state of a stuck move at both shards and the safe choices, or makes a choice',
  details: 'Without --choice, it changes nothing.',
  operands: [moveOperand],
  options: {
    choice: {
      value: 'NAME',
      help: 'choice to make: retry, undo, activate or purge; the move then continues by itself',
    },
  },
  examples: ['moves resolve 01m87hxvkd3wzxmpkkcsete9zp', 'moves resolve 01m87hxvkd3wzxmpkkcsete9zp --choice retry'],
  async run(connect, [id], { choice }) {
    if (!choice) {
      const answer = await connect().get<MoveSides>(`${moveAt(id)}/sides`)
      return { json: answer, text: sidesText(answer) }
    }
    const answer = await connect().post<OneMove>(`${moveAt(id)}/resolve`, { choice })
    return { json: answer, text: `Move ${id} continues. ${watch(answer.move)}` }
  },
})
