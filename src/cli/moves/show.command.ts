import type { OneMove } from '../../console/shapes.ts'
import { present } from '../../core/present.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { watchOptions } from '../shell/options.ts'
import { followMoves } from './follow-moves.ts'
import { details, hasFailed } from './move-text.ts'
import { moveAt, moveOperand, reader } from './requests.ts'

export const command = defineCommand({
  name: 'moves show',
  summary: 'shows one move, and watches it with --follow',
  operands: [moveOperand],
  options: {
    follow: { help: 'watch the move until it settles or ends' },
    until: { ...watchOptions.until, help: 'with --follow: the state to wait for (default: settling)' },
  },
  examples: ['moves show 01m87hxvkd3wzxmpkkcsete9zp --follow --until done'],
  async run(connect, [id], { follow, until }) {
    if (until && !follow)
      throw new UserError('--until has no effect without --follow.', 'Add --follow, or remove --until.')
    const connection = connect()
    const answer = await connection.get<OneMove>(moveAt(id))
    if (!follow) return { json: answer, text: details(answer.move) }
    const [found] = await followMoves([answer.move], {
      until: until ?? 'settling',
      read: reader(connection),
      screen: process.stderr,
    })
    const move = present(found, 'the move that was followed')
    return { json: { move }, text: details(move), isFailure: hasFailed(move) }
  },
})
