import type { MoveRequest, PlannedMoves } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { keyspaceOption, watchOptions } from '../shell/options.ts'
import { followMoves } from './follow-moves.ts'
import { hasFailed, outcome, planText } from './move-text.ts'
import { MOVES, reader } from './requests.ts'

export const command = defineCommand({
  name: 'moves start',
  summary: 'moves slots to a shard, with one move per shard that has some of them, and watches the moves',
  details:
    'Slots that the target already has are skipped, so a second run after the moves changes nothing. Slots of an open move ' +
    'are refused.',
  operands: [
    { name: 'SLOTS', help: 'slots in hex: 00ff, 0000-0fff, or several separated by commas' },
    { name: 'TARGET', help: 'id of the target shard, from shards list' },
  ],
  options: { keyspace: keyspaceOption, ...watchOptions },
  examples: ['moves start 0000-0fff shard-001', 'moves start 00ff,0200-02ff shard-001 --keyspace claims --no-wait'],
  async run(connect, [slots, target], { keyspace, until = 'settling', 'no-wait': isLeft }) {
    const connection = connect()
    // The server refuses other keyspaces and malformed slots.
    const request = { slots, target, ...(keyspace ? { keyspace } : {}) } as MoveRequest
    const planned = await connection.post<PlannedMoves>(MOVES, request)
    if (planned.moves.length === 0)
      return { json: planned, text: `Nothing to move: ${target} already has all of these slots.` }
    if (isLeft) return { json: planned, text: planned.moves.map(planText).join('\n') }
    const moves = await followMoves(planned.moves, { until, read: reader(connection), screen: process.stderr })
    return { json: { moves }, text: moves.map(outcome).join('\n'), isFailure: moves.some(hasFailed) }
  },
})
