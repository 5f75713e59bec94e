import { defineCommand } from '../shell/command.ts'
import { shortened, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves reverse',
  summary: 'takes back a move that is settling, with what was written since',
  operands: [moveOperand],
  run: steering(
    'reverse',
    (move) => `Slots ${shortened(move.slots)} go back from ${move.source} to ${move.target}. ${watch(move)}`,
  ),
})
