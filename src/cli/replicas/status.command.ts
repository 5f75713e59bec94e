import { PLATFORM_HELP } from '../deploy/deployment.ts'
import { connect } from '../shell/client.ts'
import { defineCommand } from '../shell/command.ts'
import { addressOfDeployed, openDeployed, replicaOptions } from './databases.ts'
import { replicaStatus } from './replica-status.ts'

export const command = defineCommand({
  name: 'replicas status',
  summary: 'shows each database’s replication, region and who answers its reads; deployed only',
  details: `It changes nothing. The application makes a few reads, and reports which members of each database answered.
${PLATFORM_HELP}`,
  options: replicaOptions,
  examples: ['replicas status --remote'],
  run(_connect, _operands, options) {
    const deployment = openDeployed(options)
    return replicaStatus(deployment, {
      only: options.only,
      connect: async () => connect({ url: await addressOfDeployed(deployment, options.url), token: options.token }),
    })
  },
})
