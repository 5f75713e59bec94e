import type { MoveRequest, PlannedMoves } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { keyspaceOption, watchOptions } from '../shell/options.ts'
import { followMoves } from './follow-moves.ts'
import { hasFailed, outcome, planText } from './move-text.ts'
import { MOVES, reader } from './requests.ts'

export const command = defineCommand({
  name: 'moves start',
  summary: 'moves slots to a shard, one move for each shard that has some of them, and watches',
  operands: [
    { name: 'SLOTS', help: 'hex digits: 00ff, 0000-0fff, or several with commas between' },
    { name: 'TARGET', help: 'a shard’s id' },
  ],
  options: { keyspace: keyspaceOption, ...watchOptions },
  examples: ['moves start 0000-0fff shard-001', 'moves start 00ff,0200-02ff shard-001 --keyspace claims --no-wait'],
  async run(connect, [slots, target], { keyspace, until = 'settling', 'no-wait': isLeft }) {
    const connection = connect()
    // The server refuses other keyspaces, and slots that it can't read.
    const request = { slots, target, ...(keyspace ? { keyspace } : {}) } as MoveRequest
    const planned = await connection.post<PlannedMoves>(MOVES, request)
    if (planned.moves.length === 0) return { json: planned, text: `Nothing to move: ${target} has all of these slots.` }
    if (isLeft) return { json: planned, text: planned.moves.map(planText).join('\n') }
    const moves = await followMoves(planned.moves, { until, read: reader(connection), screen: process.stderr })
    return { json: { moves }, text: moves.map(outcome).join('\n'), isFailure: moves.some(hasFailed) }
  },
})
