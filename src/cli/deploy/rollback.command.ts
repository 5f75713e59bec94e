import { setTimeout as sleep } from 'node:timers/promises'
import { listShards } from '../shards/requests.ts'
import { connect } from '../shell/client.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { configOption } from '../shell/options.ts'
import { readConfig } from '../wrangler/config.ts'
import { addressOf, openDeployment, PLATFORM_HELP } from './deployment.ts'
import { rollback } from './rollback.ts'

export const command = defineCommand({
  name: 'rollback',
  summary: 'makes the previous version live again; databases stay as they are',
  details: `Idempotent: after a rollback, a second run only checks that the application is ready.
${PLATFORM_HELP}`,
  options: {
    to: { value: 'VERSION', help: 'id of the version to make live (default: the previous one)' },
    'without-map': {
      help: 'allow a version that binds fewer shards if the live version is too broken to show the map',
    },
    'dry-run': { help: 'print which version would become live, and change nothing' },
    config: configOption,
  },
  async run(_connect, _operands, options) {
    const say = (line: string) => console.error(line)
    const deployment = openDeployment({ config: options.config, environment: process.env, sleep, say })
    const config = readConfig(deployment.readConfigText())
    const address = await addressOf(deployment.platform, config, options.url)
    return rollback(deployment, {
      address,
      shards: async () => {
        const { items } = await listShards(connect({ url: address, token: options.token }))
        if (!Array.isArray(items))
          throw new UserError(
            `${address} answered without a list of shards.`,
            'Pass the address of a Banyan application with --url.',
          )
        return items
      },
      to: options.to,
      isWithoutMap: options['without-map'] ?? false,
      isDryRun: options['dry-run'] ?? false,
    })
  },
})
