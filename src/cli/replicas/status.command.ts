import { PLATFORM_HELP } from '../deploy/deployment.ts'
import { connect } from '../shell/client.ts'
import { defineCommand } from '../shell/command.ts'
import { addressOfDeployed, openDeployed, replicaOptions } from './databases.ts'
import { replicaStatus } from './replica-status.ts'

export const command = defineCommand({
  name: 'replicas status',
  summary: 'shows the replication, the region and the answering members of each database; deployed only',
  details: `Changes nothing. The application reads each database a few times, and reports which members answered.
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
