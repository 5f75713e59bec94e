import { defineCommand } from '../shell/command.ts'
import { settleTime, watch } from './move-text.ts'
import { moveOperand, steering } from './requests.ts'

export const command = defineCommand({
  name: 'moves complete',
  summary: 'ends the settling as soon as no router can use the previous map',
  operands: [moveOperand],
  run: steering(
    'complete',
    (move) => `The rows left at ${move.source} go at ${settleTime(move)}, when the last lease is over. ${watch(move)}`,
  ),
})
