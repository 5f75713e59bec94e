/** A Worker under `wrangler dev` in its own process. Its state persists between runs. */
import '../../src/cli/wrangler/local-environment.ts'
import { type ChildProcess, spawn } from 'node:child_process'
import { freePort } from '../../scripts/free-port.ts'
import { root } from '../../src/cli/shell/root.ts'

const START_MS = 60_000
const STOP_MS = 10_000
const POLL_MS = 100

export class WorkerProcess {
  readonly url: URL
  #child: ChildProcess
  #said = ''

  private constructor(port: number, command: string, args: string[], folder: string) {
    this.url = new URL(`http://localhost:${port}`)
    this.#child = spawn(command, args, {
      cwd: folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on('data', (chunk: Buffer) => {
        this.#said += chunk
      })
  }

  /** Starts a command with its port as an argument, in the project's folder or another, and waits until it answers. */
  static async start(command: string, argsOf: (port: number) => string[], folder = root): Promise<WorkerProcess> {
    const port = await freePort()
    const started = new WorkerProcess(port, command, argsOf(port), folder)
    for (const deadline = Date.now() + START_MS; ; await sleep(POLL_MS)) {
      const answers = await fetch(started.url).then(
        () => true,
        () => false,
      )
      if (answers) return started
      if (started.#child.exitCode !== null || Date.now() > deadline) {
        await started.stop()
        throw new Error(`${command} did not start:\n${started.#said}`)
      }
    }
  }

  static wranglerDev(configPath: string, persistTo: string, vars: Record<string, string>): Promise<WorkerProcess> {
    const variables = Object.entries(vars).flatMap(([name, value]) => ['--var', `${name}:${value}`])
    return WorkerProcess.start('npx', (port) => [
      ...['wrangler', 'dev', '--config', configPath, '--port', String(port), '--persist-to', persistTo],
      ...['--show-interactive-dev-session=false', ...variables],
    ])
  }

  get said(): string {
    return this.#said
  }

  /** Stops it and all its children. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    process.kill(-this.#child.pid!, 'SIGTERM')
    await Promise.race([ended, sleep(STOP_MS)])
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
