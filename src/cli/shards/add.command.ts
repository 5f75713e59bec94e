import { locationOf, locationOptions } from '../platform/resources.ts'
import { isLocal } from '../shell/address.ts'
import { addressOf } from '../shell/client.ts'
import { defineCommand } from '../shell/command.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { databaseOptions, refuseLocalOptions } from '../wrangler/local-options.ts'
import { addShards, SHARDS_AT_ONCE_MAX, say } from './add-shards.ts'
import { localHost } from './local-host.ts'
import { openRemoteHost } from './remote-host.ts'

export const command = defineCommand({
  name: 'shards add',
  summary: 'creates databases, migrates them, binds them, and registers them as shards without slots',
  details:
    'Each run adds more shards. If interrupted, run the command again: it resumes with the bindings that have no shard yet.',
  options: {
    count: { value: 'N', help: `number of shards to add, at most ${SHARDS_AT_ONCE_MAX} (default: 1)` },
    ...locationOptions,
    ...databaseOptions,
    remote: { help: 'add to the deployed application of --config, even if --url is local' },
  },
  examples: ['shards add --count 2', 'shards add --remote --location weur'],
  async run(connect, _operands, options) {
    const count = wholeNumber('--count', options.count ?? '1', 1, SHARDS_AT_ONCE_MAX)
    const location = locationOf(options)
    const isRemote = options.remote || !isLocal(addressOf(options))
    if (isRemote) refuseLocalOptions(options)
    const host = isRemote ? await openRemoteHost(options, location, say) : localHost(connect, options, location)
    return addShards(host, count)
  },
})
