import type { MovePage } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'
import { percent, shortened, stateOf } from './move-text.ts'
import { MOVES } from './requests.ts'

export const command = defineCommand({
  name: 'moves list',
  summary: 'lists moves of slots between shards, newest first',
  options: {
    cursor: {
      value: 'CURSOR',
      help: 'position to start from, as a previous list printed it (default: the newest move)',
    },
  },
  async run(connect, _operands, { cursor }) {
    const answer = await connect().get<MovePage>(cursor ? `${MOVES}?cursor=${encodeURIComponent(cursor)}` : MOVES)
    if (answer.items.length === 0)
      return { json: answer, text: 'There are no moves. To start one: npm run banyan -- help moves start' }
    const rows = answer.items.map((move) => [
      move.id,
      move.keyspace,
      shortened(move.slots),
      move.source,
      move.target,
      stateOf(move),
      percent(move),
      move.rowsTotal.toLocaleString('en'),
      move.cutoverMs === null ? '' : `${move.cutoverMs} ms`,
    ])
    const head = ['move', 'keyspace', 'slots', 'from', 'to', 'state', 'done', 'rows', 'cutover']
    const more = answer.next ? `\n\nOlder moves: npm run banyan -- moves list --cursor ${answer.next}` : ''
    return { json: answer, text: table(head, rows, 6) + more }
  },
})
