import { defineCommand } from '../shell/command.ts'
import { shardOperand } from './requests.ts'
import { setState } from './set-state.ts'

export const command = defineCommand({
  name: 'shards read-only',
  summary: 'lets the users of a shard read, and refuses their writes',
  operands: [shardOperand],
  options: { off: { help: 'let them write again' } },
  run: (connect, [id], { off }) => setState(connect(), id, off ? 'serving' : 'read-only'),
})
