import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { freePort } from './free-port.ts'

const START_MS = 90_000
const STOP_MS = 10_000
const POLL_MS = 100
const LINES_SAID = 40

/** A dev server for one script, with a free port and its data in a temporary folder. */
export class DevServer {
  readonly url: URL
  readonly folder: string
  readonly #port: number
  readonly #args: string[]
  readonly #log: string
  #child: ChildProcess | null = null

  private constructor(port: number, args: string[]) {
    this.#port = port
    this.#args = args
    this.url = new URL(`http://localhost:${port}`)
    this.folder = mkdtempSync(path.join(tmpdir(), 'banyan-dev-'))
    this.#log = path.join(this.folder, 'dev.log')
  }

  /** Further arguments are those of `npm run dev`. */
  static async make(...args: string[]): Promise<DevServer> {
    return new DevServer(await freePort(), args)
  }

  /** Starts or restarts it with the data in its folder, and waits until it is ready. Throws after 90 s. */
  async start(): Promise<void> {
    const args = ['--port', String(this.#port), '--persist-to', this.folder, ...this.#args]
    // In its own process group, so that it can be ended together with its children.
    const log = openSync(this.#log, 'a')
    const stdio: StdioOptions = ['ignore', log, log]
    const child = spawn('npm', ['run', '--silent', 'dev', '--', ...args], { cwd: root, detached: true, stdio })
    closeSync(log)
    this.#child = child
    for (const deadline = Date.now() + START_MS; ; await sleep(POLL_MS)) {
      const isUp = await fetch(new URL('/readyz', this.url)).then(
        ({ ok }) => ok,
        () => false,
      )
      if (isUp) return
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`${this.url.origin} did not start within ${START_MS} ms:\n${this.said()}`)
    }
  }

  /** The end of its output so far. */
  said(): string {
    return readFileSync(this.#log, 'utf8').split('\n').slice(-LINES_SAID).join('\n')
  }

  /** Ends all its processes at once, like a power failure. Resolves when none is left. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Stops it and deletes its data. */
  async remove(): Promise<void> {
    await this.#end('SIGTERM')
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const pid = this.#child?.pid
    this.#child = null
    if (pid === undefined) return
    signalGroup(pid, signal)
    // The runtime outlives npm, and writes to the folder until it exits.
    for (const deadline = Date.now() + STOP_MS; signalGroup(pid, 0); await sleep(POLL_MS))
      if (Date.now() > deadline) signalGroup(pid, 'SIGKILL')
  }
}

/** False if the group has no process left. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal)
  } catch {
    return false
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
