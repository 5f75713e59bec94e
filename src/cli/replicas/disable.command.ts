import { PLATFORM_HELP } from '../deploy/deployment.ts'
import { defineCommand } from '../shell/command.ts'
import { openDeployed, replicaOptions } from './databases.ts'
import { switchReplicas } from './switch-replicas.ts'

export const command = defineCommand({
  name: 'replicas disable',
  summary: 'lets Cloudflare delete the read replicas of the shards’ databases; deployed only',
  details: `First set REPLICAS to off in the configuration and deploy. Otherwise reads take longer, without a benefit.
Idempotent: if interrupted, run the command again to resume.
${PLATFORM_HELP}`,
  options: replicaOptions,
  examples: ['replicas disable --remote'],
  run: (_connect, _operands, options) =>
    switchReplicas(openDeployed(options), { mode: 'disabled', only: options.only }),
})
