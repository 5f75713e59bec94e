/**
 * `npm run dev [-- --shards N] [--config FILE] [wrangler dev's own arguments]`: prepares settings, assets and the
 * migrations of every bound shard, then runs `wrangler dev`. Writes only inside the project folder (or `--persist-to
 * DIR`).
 */
import '../src/cli/wrangler/local-environment.ts'
import { spawn } from 'node:child_process'
import { root } from '../src/cli/shell/root.ts'
import { counted } from '../src/cli/shell/table.ts'
import { localConfig } from '../src/cli/wrangler/local-options.ts'
import { migrateLocalShards } from '../src/cli/wrangler/local-shards.ts'
import { readDevOptions } from './dev-options.ts'
import { ensureDevVars } from './dev-vars.ts'
import { freePort } from './free-port.ts'
import { orExit } from './options.ts'

const options = orExit(() => readDevOptions(process.argv.slice(2)))

if (options.isHelp) {
  console.log(
    'npm run dev -- [--shards N] [--port 8787] [--config FILE] [--persist-to DIR] [any argument of wrangler dev]',
  )
  process.exit(0)
}

// wrangler accepts 0 too, but then this script could not print the port.
const port = options.port === 0 ? await freePort() : options.port
const { configPath, persistTo, shards } = orExit(() =>
  localConfig({ shards: options.shards, config: options.config, 'persist-to': options.persistTo }),
)
const devVars = ensureDevVars(root)

const applied = await migrateLocalShards(configPath, persistTo)
console.log(`${counted(shards, 'shard')}, ${applied === 0 ? 'all migrated' : `${applied} migrations applied`}.`)
console.log(`
  The application     http://localhost:${port}
  Its API             http://localhost:${port}/api/openapi.json
  Operators' token    ${devVars.OPERATOR_TOKEN ?? '(none, so the operators’ API is off)'}
  Mails               ${devVars.MAIL_PREVIEWS === 'on' ? `http://localhost:${port}/dev/mails` : 'are not sent; wrangler prints below where it wrote each (search for "send_email")'}
  Cron                curl "http://localhost:${port}/cdn-cgi/handler/scheduled"
`)

const child = spawn(
  'wrangler',
  [
    'dev',
    '--config',
    configPath,
    '--port',
    String(port),
    '--persist-to',
    persistTo,
    '--show-interactive-dev-session=false',
    ...options.rest,
  ],
  { cwd: root, stdio: 'inherit' },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)))
