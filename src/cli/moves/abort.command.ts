import { defineCommand } from '../shell/command.ts'
import { outcome, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves abort',
  summary: 'undoes a move that has not changed the map yet',
  details:
    'The slots stay at the source, and the copied rows are deleted from the target. A settling move is refused; use moves ' +
    'reverse instead. A move that has ended is refused too.',
  operands: [moveOperand],
  run: steering('abort', (move) =>
    move.state === 'aborted' ? outcome(move) : `Move ${move.id} is being undone. ${watch(move)}`,
  ),
})
