import path from 'node:path'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { localConfig } from '../wrangler/local-options.ts'
import { listShards, shardAt, shardOperand } from './requests.ts'

export const command = defineCommand({
  name: 'shards remove',
  summary: 'forgets a shard that has no slots',
  operands: [shardOperand],
  options: { config: { value: 'FILE', help: 'the configuration that binds it, if that is not wrangler.toml' } },
  /** The directory forgets it first: a binding without a shard is harmless, a shard without a binding isn't. */
  async run(connect, [id], options) {
    const { configPath } = localConfig(options)
    const connection = connect()
    const { items } = await listShards(connection)
    const shard = items.find((item) => item.id === id)
    if (!shard)
      throw new UserError(`There is no shard "${id}".`, `There are: ${items.map((item) => item.id).join(', ')}.`)
    await connection.delete(shardAt(id))
    return {
      json: { removed: shard },
      text:
        `${id} is no shard any more. Its database is still bound as ${shard.binding}: take its block out of ${path.relative(process.cwd(), configPath)}, deploy,\n` +
        'and delete the database when no older version that binds it can come back.',
    }
  },
})
