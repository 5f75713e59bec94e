import path from 'node:path'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { localConfig } from '../wrangler/local-options.ts'
import { listShards, shardAt, shardOperand } from './requests.ts'

export const command = defineCommand({
  name: 'shards remove',
  summary: 'removes a shard without slots from the map; its database and binding stay',
  details: 'It is refused while the shard has slots or open moves. The output says how to remove the binding.',
  operands: [shardOperand],
  options: { config: { value: 'FILE', help: 'configuration that binds the shard (default: wrangler.toml)' } },
  /** The map comes first: a binding without a shard is harmless, a shard without a binding is not. */
  async run(connect, [id], options) {
    const { configPath } = localConfig(options)
    const connection = connect()
    const { items } = await listShards(connection)
    const shard = items.find((item) => item.id === id)
    if (!shard)
      throw new UserError(`There is no shard "${id}".`, `Pass one of ${items.map((item) => item.id).join(', ')}.`)
    await connection.delete(shardAt(id))
    return {
      json: { removed: shard },
      text:
        `${id} is no longer a shard. Its database is still bound as ${shard.binding}. Remove its block from ${path.relative(process.cwd(), configPath)}, and deploy.\n` +
        'Delete the database when you no longer need to roll back to a version that binds it.',
    }
  },
})
