/** wrangler as a subprocess, which bundles and uploads the Worker. */
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
  /** A JSON file with secrets to set with this version. */
  secretsFile: string | null
}

export interface Wrangler {
  /** Bundles as an upload would. Returns the SHA-256 of the bundle in hex. */
  bundle(): Promise<string>
  /** Uploads a version, makes it live, and sets its triggers. Throws UserError with wrangler's message. */
  deploy(upload: Upload): Promise<void>
  /** Sets the triggers of the live version: its address, cron and queues. */
  deployTriggers(): Promise<void>
}

/** wrangler for one configuration. `environment` adds the API's address and account to our environment. */
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

/** A hash of the modules only, without the source map and README.md in the folder. */
function hashOf(folder: string): string {
  const hash = createHash('sha256')
  const files = globSync('**/*.*', { cwd: folder }).filter((file) => !/\.map$|README\.md$/.test(file))
  for (const file of files.sort()) hash.update(`${file}\0`).update(readFileSync(path.join(folder, file)))
  return hash.digest('hex')
}

async function runWrangler(args: string[], environment: Record<string, string>): Promise<void> {
  const command = [
    // Keeps wrangler's own files inside the project folder.
    '--import',
    path.join(root, 'src/cli/wrangler/local-environment.ts'),
    path.join(root, 'node_modules/wrangler/bin/wrangler.js'),
    ...args,
  ]
  const bin = path.join(root, 'node_modules/.bin')
  const child = spawn(process.execPath, command, {
    cwd: root,
    // CI prevents prompts. NO_COLOR, because our error may contain the output.
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
    'Fix the cause that the message names, and run the same command again to resume.',
  )
}

/** The output from the first error, without decoration. */
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
