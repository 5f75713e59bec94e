import { defineCommand } from '../shell/command.ts'
import { shardOperand } from './requests.ts'
import { setState } from './set-state.ts'

export const command = defineCommand({
  name: 'shards read-only',
  summary: 'makes a shard read-only, so its users can read but not write',
  details: 'Idempotent. It is refused while a move is open at the shard.',
  operands: [shardOperand],
  options: { off: { help: 'allow writes again' } },
  run: (connect, [id], { off }) => setState(connect(), id, off ? 'serving' : 'read-only'),
})
