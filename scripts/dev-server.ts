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

/** A dev server of a script's own: a free port, its data in a temporary folder. */
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

  /** Further arguments are `npm run dev`'s. */
  static async make(...args: string[]): Promise<DevServer> {
    return new DevServer(await freePort(), args)
  }

  /** Starts it, again on what is in its folder, and waits until it is ready. Throws after 90 s. */
  async start(): Promise<void> {
    const args = ['--port', String(this.#port), '--persist-to', this.folder, ...this.#args]
    // In a process group of its own, so that it can be ended with all that it starts.
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
        throw new Error(`${this.url.origin} did not start in ${START_MS} ms:\n${this.said()}`)
    }
  }

  /** The end of what it has said so far. */
  said(): string {
    return readFileSync(this.#log, 'utf8').split('\n').slice(-LINES_SAID).join('\n')
  }

  /** As a machine that loses its power. Resolves when nothing of it is left. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it, and removes what it had stored. */
  async remove(): Promise<void> {
    await this.#end('SIGTERM')
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const pid = this.#child?.pid
    this.#child = null
    if (pid === undefined) return
    signalGroup(pid, signal)
    // The runtime outlives npm, and writes to the folder until it is gone.
    for (const deadline = Date.now() + STOP_MS; signalGroup(pid, 0); await sleep(POLL_MS))
      if (Date.now() > deadline) signalGroup(pid, 'SIGKILL')
  }
}

/** False when none of the group is left. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal)
  } catch {
    return false
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
