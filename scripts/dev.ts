/**
 * `npm run dev [-- --shards N] [--config FILE] [wrangler dev's own arguments]`: settings, assets, migrations of every bound shard, then
 * `wrangler dev`. Writes inside the project folder (or `--persist-to DIR`) only.
 */
import '../src/cli/wrangler/local-environment.ts'
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { root } from '../src/cli/shell/root.ts'
import { counted } from '../src/cli/shell/table.ts'
import { localConfig } from '../src/cli/wrangler/local-options.ts'
import { migrateLocalShards } from '../src/cli/wrangler/local-shards.ts'
import { ensureDevVars } from './dev-vars.ts'

const { values, tokens } = parseArgs({
  args: process.argv.slice(2),
  options: {
    shards: { type: 'string' },
    port: { type: 'string' },
    config: { type: 'string' },
    'persist-to': { type: 'string' },
    help: { type: 'boolean' },
  },
  strict: false,
  tokens: true,
})

if (values.help) {
  console.log(
    'npm run dev -- [--shards N] [--port 8787] [--config FILE] [--persist-to DIR] [any argument of wrangler dev]',
  )
  process.exit(0)
}

const port = typeof values.port === 'string' ? values.port : '8787'
const text = (name: 'shards' | 'config' | 'persist-to') => (typeof values[name] === 'string' ? values[name] : undefined)
const { configPath, persistTo, shards } = localConfig({
  shards: text('shards'),
  config: text('config'),
  'persist-to': text('persist-to'),
})
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

// What is ours is taken out; all else is wrangler's.
const ours = new Set(['shards', 'port', 'config', 'persist-to'])
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
    configPath,
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
