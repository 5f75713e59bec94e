import { setTimeout as sleep } from 'node:timers/promises'
import { locationOf, locationOptions } from '../platform/resources.ts'
import { defineCommand } from '../shell/command.ts'
import { configOption } from '../shell/options.ts'
import { deploy } from './deploy.ts'
import { openDeployment, PLATFORM_HELP } from './deployment.ts'

export const command = defineCommand({
  name: 'deploy',
  summary: 'creates missing Cloudflare resources, applies migrations, and uploads and checks the Worker',
  details: [
    'Idempotent: it changes only what is missing or outdated. If interrupted, run the command again to resume. It ends with ' +
      'a health check and the probe. npm run deploy runs this command.',
    PLATFORM_HELP,
    '--token gives the operators’ token to set if the application has none. If omitted, the command generates one.',
  ].join('\n'),
  options: {
    'dry-run': { help: 'print what the command would do, and change nothing' },
    ...locationOptions,
    config: configOption,
  },
  examples: ['deploy --dry-run', 'deploy --location weur', 'deploy --config wrangler.second.toml'],
  async run(_connect, _operands, options) {
    const location = locationOf(options)
    const deployment = openDeployment({
      config: options.config,
      environment: process.env,
      sleep,
      say: (line) => console.error(line),
    })
    return deploy(deployment, {
      url: options.url,
      // Build services pass an unset secret as an empty string.
      operatorToken: options.token || process.env.BANYAN_TOKEN || undefined,
      isDryRun: options['dry-run'] ?? false,
      location,
      screen: process.stderr,
    })
  },
})
