/**
 * `npm run notes [-- --port N] [--persist-to DIR]`: creates and migrates the two local databases of examples/notes,
 * then serves it. Writes only inside the project folder (or `--persist-to DIR`).
 */
import '../src/cli/wrangler/local-environment.ts'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { readMigrations } from '../src/cli/migrations/shard-migrations.ts'
import { root } from '../src/cli/shell/root.ts'
import { migrateLocalShards } from '../src/cli/wrangler/local-shards.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8788' },
    'persist-to': { type: 'string', default: path.join(root, '.wrangler/state-notes') },
  },
})
const folder = path.join(root, 'examples/notes')
const config = path.join(folder, 'wrangler.toml')
const persistTo = path.resolve(values['persist-to'])
const token = randomBytes(12).toString('base64url')

const applied = await migrateLocalShards(config, persistTo, readMigrations(path.join(folder, 'migrations')))
console.log(applied === 0 ? 'Two shards, all migrated.' : `Two shards, ${applied} migrations applied.`)
const url = `http://localhost:${values.port}`
console.log(`
  A new notebook    curl -X POST ${url}/notebooks
  A note in it      curl ${url}/notebooks/ID/notes --json '{"text":"Water the fig."}'
  Its notes         curl ${url}/notebooks/ID/notes
  A move            curl ${url}/operator/moves -H 'authorization: Bearer ${token}' --json '{"slots":"0000-3fff","target":"shard-001"}'
  Its progress      curl ${url}/operator/moves/ID -H 'authorization: Bearer ${token}'
`)

// With a short lease and grace period, a move takes only seconds.
const variables = [`OPERATOR_TOKEN:${token}`, 'LEASE_MS:2000', 'GRACE_MS:5000'].flatMap((one) => ['--var', one])
const child = spawn(
  'wrangler',
  [
    'dev',
    '--config',
    config,
    '--port',
    values.port,
    '--persist-to',
    persistTo,
    '--show-interactive-dev-session=false',
    ...variables,
  ],
  { cwd: root, stdio: 'inherit' },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)))
