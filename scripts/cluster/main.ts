/**
 * `npm run dev:cluster [-- --instances N] [--port N] [--shards N] [--persist-to DIR]`: serves the application with
 * several web servers behind a balancer, and reads commands that stop, start and add web servers.
 */
import path from 'node:path'
import { createInterface } from 'node:readline'
import { UserError } from '../../src/cli/shell/errors.ts'
import { root } from '../../src/cli/shell/root.ts'
import { counted, table } from '../../src/cli/shell/table.ts'
import { localConfig } from '../../src/cli/wrangler/local-options.ts'
import { ensureDevVars } from '../dev-vars.ts'
import { orExit, readOptions, wholeOption } from '../options.ts'
import { Balancer, usualTimes } from './balancer.ts'
import { Cluster } from './cluster.ts'
import { COMMANDS, commandOf } from './commands.ts'

const WEBS_MAX = 8
const START_MS = 30_000

const HELP = `npm run dev:cluster -- [--instances 3] [--port 8787] [--shards N] [--persist-to DIR]

Serves the application with several web servers behind a round-robin balancer. The web servers share only the
databases, KV, R2, the queues and the Durable Objects.

  --instances N      number of web servers at the start, 1 to ${WEBS_MAX} (default: 3)
  --port N           the balancer's port; 0 chooses a free one (default: 8787)
  --shards N         number of shards (default: those in wrangler.toml)
  --persist-to DIR   folder that keeps the data (default: below .wrangler, separate from npm run dev)

Commands while it runs:
${COMMANDS}`

const CHANGES = {
  joined: 'joined: it gets its share of the requests',
  back: 'back: it passes its health checks again',
  out: 'out: it does not answer, and gets no more requests',
} as const

const values = readOptions({
  instances: { type: 'string', default: '3' },
  port: { type: 'string', default: '8787' },
  shards: { type: 'string' },
  'persist-to': { type: 'string' },
  help: { type: 'boolean' },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const instances = wholeOption('--instances', values.instances, 1, WEBS_MAX)
const wanted = wholeOption('--port', values.port, 0, 65_535)
const config = orExit(() => localConfig({ shards: values.shards, 'persist-to': values['persist-to'] }))
// Two runtimes must not use the same databases, so the data is separate from that of `npm run dev`.
const persistTo = values['persist-to'] === undefined ? `${config.persistTo}-cluster` : config.persistTo

const say = (text: string): void => console.log(`${new Date().toTimeString().slice(0, 8)}  ${text}`)

const balancer = new Balancer({ ...usualTimes, onChange: (name, change) => say(`${name}  ${CHANGES[change]}`) })
// Before the runtime starts, so that a port in use is reported at once.
const port = await balancer.listen(wanted).catch((error: NodeJS.ErrnoException) => {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error
  const why = error.code === 'EACCES' ? 'needs more rights' : 'is in use, perhaps by npm run dev'
  console.error(`Port ${wanted} ${why}.\nUse a free one: npm run dev:cluster -- --port 0`)
  return process.exit(1)
})
const devVars = ensureDevVars(root)
const cluster = await Cluster.start({
  configPath: config.configPath,
  persistTo,
  // All start now, because the runtime can't add a Worker without a restart.
  webs: WEBS_MAX,
  vars: devVars,
  onLog: ({ level, message }) => {
    if (level === 'error') say(message)
  },
  onMessage: (message) => {
    if (message.includes('send_email')) console.log(message)
  },
})
let webs = 0
for (const instance of cluster.instances.slice(0, instances)) {
  balancer.add(instance)
  webs++
}
await balancer.ready(START_MS)

console.log(`
  The application     http://localhost:${port}
  Its API             http://localhost:${port}/api/openapi.json
  Mails               ${devVars.MAIL_PREVIEWS === 'on' ? `http://localhost:${port}/dev/mails` : 'are not sent; see the lines with "send_email"'}
  Operators' token    ${devVars.OPERATOR_TOKEN ?? '(none, so the operators’ API is off)'}
  Web servers         ${counted(webs, 'web server')}; the header x-served-by names the one that answered
  Data                ${counted(config.shards, 'shard')} in ${path.relative(process.cwd(), persistTo)}, kept
  A load to watch     BANYAN_URL=http://localhost:${port} npm run banyan -- load --rate 30

${COMMANDS}
`)

const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  run(line).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error
    console.log(`${error.message}\n${error.fix}`)
  })
})
// The runtime's own listener would end this process before the temporary folder is deleted.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeAllListeners(signal).on(signal, () => void quit())

async function run(line: string): Promise<void> {
  const command = commandOf(line, webs)
  if (command?.verb === 'stop') cluster.instance(command.web - 1).fail(command.failure)
  if (command?.verb === 'start') await cluster.instance(command.web - 1).start()
  if (command?.verb === 'add') add()
  if (command?.verb === 'status') console.log(statusTable())
  if (command?.verb === 'help') console.log(COMMANDS)
  if (command?.verb === 'quit') await quit()
}

function add(): void {
  const next = cluster.instances[webs]
  if (!next) throw new UserError(`There are ${webs} web servers, which is the maximum.`, 'Start a stopped one instead.')
  balancer.add(next)
  webs++
}

function statusTable(): string {
  const rows = balancer.status().map(({ name, isIn, requests, waiting }, index) => {
    const failure = cluster.instances[index]?.failure
    return [name, isIn ? 'in' : 'out', failure ?? 'none', String(requests), String(waiting)]
  })
  return table(['server', 'rotation', 'failure', 'requests', 'waiting'], rows, 3)
}

let isQuitting = false

async function quit(): Promise<void> {
  if (isQuitting) return
  isQuitting = true
  input.close()
  await balancer.close()
  await cluster.close()
  process.exit(0)
}
