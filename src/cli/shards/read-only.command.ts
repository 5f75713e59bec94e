import { defineCommand } from '../shell/command.ts'
import { shardOperand } from './requests.ts'
import { setState } from './set-state.ts'

export const command = defineCommand({
  name: 'shards read-only',
  summary: 'refuses the writes of a shard’s users, who can still read',
  details: 'Idempotent. It is refused while a move is open at the shard.',
  operands: [shardOperand],
  options: { off: { help: 'allow writes again' } },
  run: (connect, [id], { off }) => setState(connect(), id, off ? 'serving' : 'read-only'),
})
