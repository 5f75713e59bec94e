/**
 * `npm run tour [-- --write]`: runs the tour of docs/operating.md, command by command, on a dev server of its own, and
 * compares what they say with what the document says they say. `--write` puts what they said into the document. What
 * differs from run to run (ids, times, sizes, progress) isn't compared. Exits 1 where something else differs, or a command fails.
 */
import { spawn } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../src/cli/local-shards.ts'
import { localShards, withShards } from '../src/cli/wrangler-config.ts'
import { DevServer } from './dev-server.ts'
import { ensureDevVars } from './dev-vars.ts'
import { commandsOf, type Said, withOutputs } from './tour-blocks.ts'

const document = path.join(root, 'docs/operating.md')
const configName = 'wrangler.shards-tour.toml'
const configPath = path.join(root, configName)

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } })
const token = ensureDevVars(root).OPERATOR_TOKEN!
writeFileSync(configPath, withShards(readFileSync(path.join(root, 'wrangler.toml'), 'utf8'), localShards(0, 2)))
const server = await DevServer.make('--config', configPath)
const examples = path.join(server.folder, 'examples')
try {
  cpSync(path.join(root, 'docs/examples'), examples, { recursive: true })
  await server.start()
  const text = readFileSync(document, 'utf8')
  const said: Said[] = []
  for (const command of commandsOf(text)) {
    const args = withIdsOfNow(command.args, said)
    console.log(`$ npm run banyan -- ${args.join(' ')}`)
    const answer = await banyan(args)
    console.log(answer.text)
    said.push({ command, args, text: answer.text })
    if (answer.code !== 0) throw new Error(`it ended with ${answer.code}`)
  }
  if (said.length === 0) throw new Error(`${document} has no tour`)
  const { written, differences } = withOutputs(text, said)
  if (values.write) writeFileSync(document, written)
  for (const difference of differences) console.log(`\nThe document says otherwise:\n${difference}`)
  console.log(`\n${said.length} commands, ${differences.length} say something else than the document.`)
  process.exitCode = differences.length > 0 && !values.write ? 1 : 0
} finally {
  await server.remove()
  rmSync(configPath, { force: true })
}

/** A command that names an id of the document's means the one that was printed at its place in this run. */
function withIdsOfNow(args: string[], before: Said[]): string[] {
  const ids = new Map<string, string>()
  for (const { command, text } of before) {
    const [documented, now] = [idsIn(command.output), idsIn(text)]
    documented.forEach((id, index) => {
      if (now[index] !== undefined && !ids.has(id)) ids.set(id, now[index])
    })
  }
  const last = before.flatMap(({ text }) => idsIn(text)).at(-1)
  // One that the document hasn't got from anywhere (a command that is new in it) means the latest.
  return args.map((arg) => (idsIn(arg).length === 1 ? (ids.get(arg) ?? last ?? arg) : arg))
}

/** Each once, in the order in which they are first named. */
function idsIn(text: string): string[] {
  return [...new Set(text.match(/\b01[0-9a-z]{24}\b/g) ?? [])]
}

/** Runs the command as an operator would, but on the tour's own configuration and data. */
function banyan(args: string[]): Promise<{ code: number | null; text: string }> {
  const isLocal = /^(shards (add|remove)|migrations )/.test(`${args.join(' ')} `)
  const where = isLocal
    ? ['--config', configPath, ...(args[1] === 'remove' ? [] : ['--persist-to', server.folder])]
    : []
  const child = spawn(process.execPath, [path.join(root, 'src/cli/main.ts'), ...args, ...where], {
    // What an import keeps beside its file goes with the rest.
    cwd: args[0] === 'import' ? examples : root,
    env: { ...process.env, BANYAN_URL: server.url.origin, BANYAN_TOKEN: token },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
  const asDocumented = () =>
    text.replaceAll(configName, 'wrangler.toml').replaceAll(server.url.origin, 'http://localhost:8787').trimEnd()
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, text: asDocumented() }))
  })
}
