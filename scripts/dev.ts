/**
 * `npm run dev [-- --shards N] [wrangler dev's own arguments]`: settings, assets, migrations of every bound shard, then
 * `wrangler dev`. Writes inside the project folder (or `--persist-to DIR`) only.
 */
import '../src/cli/local-environment.ts'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { configFor, migrateLocalShards, root } from '../src/cli/local-shards.ts'
import { ensureDevVars } from './dev-vars.ts'

const { values, tokens } = parseArgs({
  args: process.argv.slice(2),
  options: {
    shards: { type: 'string' },
    port: { type: 'string' },
    'persist-to': { type: 'string' },
    help: { type: 'boolean' },
  },
  strict: false,
  tokens: true,
})

if (values.help) {
  console.log('npm run dev -- [--shards N] [--port 8787] [--persist-to DIR] [any argument of wrangler dev]')
  process.exit(0)
}

const port = typeof values.port === 'string' ? values.port : '8787'
const config = configFor(typeof values.shards === 'string' ? Number(values.shards) : null)
const persistTo = typeof values['persist-to'] === 'string' ? path.resolve(values['persist-to']) : config.persistTo
const devVars = ensureDevVars(root)

const applied = await migrateLocalShards(config.configPath, persistTo)
console.log(
  `${config.shards} shard${config.shards === 1 ? '' : 's'}, ${applied === 0 ? 'all migrated' : `${applied} migrations applied`}.`,
)
console.log(`
  The application     http://localhost:${port}
  Its API             http://localhost:${port}/api/openapi.json
  Operators' token    ${devVars.OPERATOR_TOKEN ?? '(none: their API is off)'}
  Mails               are not sent: wrangler prints below where it wrote each (search for "send_email")
  Cron                curl "http://localhost:${port}/cdn-cgi/handler/scheduled"
`)

// What is ours is taken out; all else is wrangler's.
const ours = new Set(['shards', 'port', 'persist-to'])
const skipped = new Set<number>()
for (const token of tokens) {
  if (token.kind !== 'option' || !ours.has(token.name)) continue
  skipped.add(token.index)
  if (!token.inlineValue && token.value !== undefined) skipped.add(token.index + 1)
}
const rest = process.argv.slice(2).filter((_: string, index: number) => !skipped.has(index))
const child = spawn(
  'wrangler',
  [
    'dev',
    '--config',
    config.configPath,
    '--port',
    port,
    '--persist-to',
    persistTo,
    '--show-interactive-dev-session=false',
    ...rest,
  ],
  { cwd: root, stdio: 'inherit' },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)))
