import { setTimeout as sleep } from 'node:timers/promises'
import { defineCommand } from '../shell/command.ts'
import { configOption } from '../shell/options.ts'
import { deploy } from './deploy.ts'
import { openDeployment, PLATFORM_HELP } from './deployment.ts'

export const command = defineCommand({
  name: 'deploy',
  summary:
    'creates missing Cloudflare resources, applies migrations, uploads the Worker, runs a health check and the probe; idempotent (also: npm run deploy)',
  details: `${PLATFORM_HELP}
--token is the operators’ token to set if none is set. If omitted, the command generates one.`,
  options: { 'dry-run': { help: 'say what it would do, and do nothing' }, config: configOption },
  examples: ['deploy --dry-run', 'deploy --config wrangler.second.toml'],
  async run(_connect, _operands, options) {
    const deployment = openDeployment({
      config: options.config,
      environment: process.env,
      sleep,
      say: (line) => console.error(line),
    })
    return deploy(deployment, {
      url: options.url,
      // An unset secret of a build service is an empty variable.
      operatorToken: options.token || process.env.BANYAN_TOKEN || undefined,
      isDryRun: options['dry-run'] ?? false,
      screen: process.stderr,
    })
  },
})
