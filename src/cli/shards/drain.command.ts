import type { StartedMoves } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { watchOptions } from '../shell/options.ts'
import { shardAt, shardOperand } from './requests.ts'
import { setState } from './set-state.ts'
import { followed } from './started-moves.ts'

export const command = defineCommand({
  name: 'shards drain',
  summary: 'moves all slots of a shard to the other shards; the shard gets no new slots',
  details: 'Idempotent: a second run plans only the slots that are still there and in no move.',
  operands: [shardOperand],
  options: {
    off: { help: 'cancel the drain: abort its waiting moves, and let the shard take slots again' },
    ...watchOptions,
  },
  async run(connect, [id], { off, until = 'settling', 'no-wait': isLeft = false }) {
    if (off) return setState(connect(), id, 'serving')
    const connection = connect()
    const started = await connection.post<StartedMoves>(`${shardAt(id)}/drain`)
    const output = await followed(connection, started, { until, isLeft, nothing: `${id} has no slots.` })
    const isEmpty = started.held === 0 && !isLeft && !output.isFailure
    const when = until === 'done' ? 'To remove it' : 'To remove it when its moves are done'
    const next = isEmpty ? `\n${id} has no slots now. ${when}: npm run banyan -- shards remove ${id}` : ''
    return { ...output, text: output.text + next }
  },
})
