import type { StartedMoves } from '../../console/shapes.ts'
import { followed } from '../shards/started-moves.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { watchOptions } from '../shell/options.ts'
import { placeAt } from './requests.ts'

export const command = defineCommand({
  name: 'keyspaces place',
  summary: 'moves all slots of a table group to one shard, where a rebalance leaves them',
  details:
    'Idempotent: it skips slots that are on the shard, or on their way to it. `rebalance --keyspace NAME` spreads ' +
    'the group over the shards again.',
  operands: [{ name: 'NAME', help: 'name of the table group, from keyspaces list' }],
  options: {
    on: { value: 'SHARD', help: 'shard to move it to: its binding, or its id from shards list (required)' },
    ...watchOptions,
  },
  examples: ['keyspaces place claims --on SHARD_002', 'keyspaces place claims --on shard-002 --no-wait'],
  async run(connect, [name], { on, until = 'settling', 'no-wait': isLeft = false }) {
    if (on === undefined)
      throw new UserError(
        'keyspaces place needs a shard.',
        `Pass --on, for example: npm run banyan -- keyspaces place ${name} --on SHARD_002`,
      )
    const target = shardId(on)
    const connection = connect()
    const started = await connection.post<StartedMoves>(placeAt(name), { target })
    const where = `on ${target}, or on their way to it`
    const nothing =
      started.held === 0
        ? `Nothing to move: all slots of ${name} are ${where}.`
        : `Nothing can move now: all other slots of ${name} are ${where}.`
    return followed(connection, started, { until, isLeft, nothing })
  },
})

/** The id of a shard that is given by its binding or by its id. */
const shardId = (given: string): string =>
  /^SHARD_\d{3}$/i.test(given) ? given.toLowerCase().replace('_', '-') : given
