/**
 * `npm run dev [-- --shards N] [--config FILE] [wrangler dev's own arguments]`: settings, assets, migrations of every bound shard, then
 * `wrangler dev`. Writes inside the project folder (or `--persist-to DIR`) only.
 */
import '../src/cli/local-environment.ts'
import { spawn } from 'node:child_process'
import { migrateLocalShards, root } from '../src/cli/local-shards.ts'
import { localConfig } from '../src/cli/migrations.ts'
import { counted } from '../src/cli/table.ts'
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

// wrangler takes 0 too, and then only its own lines would have the port.
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
  Operators' token    ${devVars.OPERATOR_TOKEN ?? '(none: their API is off)'}
  Mails               are not sent: wrangler prints below where it wrote each (search for "send_email")
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
