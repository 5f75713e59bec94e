import { defineCommand } from '../shell/command.ts'
import { shortened, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves reverse',
  summary: 'moves the slots of a settling move back to their source, with all writes since',
  details: 'Only a settling move can be reversed. It is refused while another move works at one of the shards.',
  operands: [moveOperand],
  run: steering(
    'reverse',
    (move) => `Slots ${shortened(move.slots)} move back from ${move.source} to ${move.target}. ${watch(move)}`,
  ),
})
