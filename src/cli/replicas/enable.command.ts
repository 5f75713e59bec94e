import { PLATFORM_HELP } from '../deploy/deployment.ts'
import { defineCommand } from '../shell/command.ts'
import { openDeployed, replicaOptions } from './databases.ts'
import { switchReplicas } from './switch-replicas.ts'

export const command = defineCommand({
  name: 'replicas enable',
  summary: 'lets Cloudflare keep read replicas of the shards’ databases; deployed only',
  details: `Idempotent: if interrupted, run the command again to resume. The application reads from replicas only with REPLICAS=on.
${PLATFORM_HELP}`,
  options: replicaOptions,
  examples: ['replicas enable --remote', 'replicas enable --remote --only SHARD_001,SHARD_004'],
  run: (_connect, _operands, options) => switchReplicas(openDeployed(options), { mode: 'auto', only: options.only }),
})
