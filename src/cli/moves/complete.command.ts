import { defineCommand } from '../shell/command.ts'
import { settleTime, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves complete',
  summary: 'ends the settling of a move as soon as no router can use the previous map',
  details:
    'The source then deletes its rows of the slots, and the move can no longer be reversed. Idempotent while the move settles.',
  operands: [moveOperand],
  run: steering(
    'complete',
    (move) =>
      `${move.source} deletes its rows after ${settleTime(move)}, when the last lease has expired. ${watch(move)}`,
  ),
})
