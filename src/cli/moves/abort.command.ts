import { defineCommand } from '../shell/command.ts'
import { outcome, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves abort',
  summary: 'takes back a move that has not changed the map yet',
  operands: [moveOperand],
  run: steering('abort', (move) =>
    move.state === 'aborted' ? outcome(move) : `Move ${move.id} is being undone. ${watch(move)}`,
  ),
})
