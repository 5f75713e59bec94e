/** wrangler as a subprocess: it bundles the Worker and uploads it. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { globSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { UserError } from '../shell/errors.ts'
import { root } from '../shell/root.ts'

const TIMEOUT_MS = 600_000
const SAID_LINES_MAX = 20

export interface Upload {
  tag: string
  message: string
  vars: Record<string, string>
  /** JSON: secrets that this version brings with it. */
  secretsFile: string | null
}

export interface Wrangler {
  /** Bundles as an upload would. Returns the SHA-256 of what would be uploaded, in hex. */
  bundle(): Promise<string>
  /** Uploads a version, makes it live, and sets what calls it. Throws UserError with wrangler's words. */
  deploy(upload: Upload): Promise<void>
  /** Sets what calls the live version: its address, the cron, the queues it consumes. */
  deployTriggers(): Promise<void>
}

/** wrangler for one configuration. `environment` goes to it beside our own: where the API is, and whose. */
export function openWrangler(configPath: string, environment: Record<string, string>): Wrangler {
  const run = (args: string[]) => runWrangler([...args, '--config', configPath], environment)
  return {
    async bundle() {
      const folder = path.join(root, '.wrangler/deploy', path.basename(configPath, '.toml'))
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder, { recursive: true })
      await run(['deploy', '--dry-run', '--outdir', folder])
      return hashOf(folder)
    },
    async deploy({ tag, message, vars, secretsFile }) {
      const given = Object.entries(vars).flatMap(([name, value]) => ['--var', `${name}:${value}`])
      const secrets = secretsFile ? ['--secrets-file', secretsFile] : []
      await run(['deploy', '--tag', tag, '--message', message, ...given, ...secrets])
    },
    async deployTriggers() {
      await run(['triggers', 'deploy'])
    },
  }
}

/** Of the modules alone: the folder holds a source map and a note for people as well. */
function hashOf(folder: string): string {
  const hash = createHash('sha256')
  const files = globSync('**/*.*', { cwd: folder }).filter((file) => !/\.map$|README\.md$/.test(file))
  for (const file of files.sort()) hash.update(`${file}\0`).update(readFileSync(path.join(folder, file)))
  return hash.digest('hex')
}

async function runWrangler(args: string[], environment: Record<string, string>): Promise<void> {
  const command = [
    // What wrangler keeps of its own stays inside the project folder.
    '--import',
    path.join(root, 'src/cli/wrangler/local-environment.ts'),
    path.join(root, 'node_modules/wrangler/bin/wrangler.js'),
    ...args,
  ]
  const bin = path.join(root, 'node_modules/.bin')
  const child = spawn(process.execPath, command, {
    cwd: root,
    // CI: nobody is there to be asked. No colours: what it says may end in our error.
    env: { ...process.env, ...environment, CI: '1', NO_COLOR: '1', PATH: `${bin}:${process.env.PATH ?? ''}` },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  })
  const said: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code === 0) return
  throw new UserError(
    `wrangler ${args.slice(0, 2).join(' ')} failed:\n${lastWords(Buffer.concat(said).toString())}`,
    'Mend what it names, and run the same command again: it goes on where this one stopped.',
  )
}

/** From its first error on, without the decoration. */
function lastWords(said: string): string {
  const lines = stripVTControlCharacters(said)
    .split('\n')
    .map((line) => line.trimEnd())
  const start = lines.findIndex((line) => line.includes('[ERROR]'))
  return lines
    .slice(Math.max(0, start))
    .filter((line) => line.trim() !== '' && !/Logs were written|If you think this is a bug/.test(line))
    .slice(0, SAID_LINES_MAX)
    .map((line) => `  ${line.replace('✘ [ERROR]', '').trim()}`)
    .join('\n')
}
