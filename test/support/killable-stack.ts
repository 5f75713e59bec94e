/** The whole stack as processes that can be killed at once and restarted with the data on disk. */
import '../../src/cli/wrangler/local-environment.ts'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, globSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { unstable_getMiniflareWorkerOptions } from 'wrangler'
import { bundle } from '../../scripts/cluster/bundle.ts'
import { freePort } from '../../scripts/free-port.ts'
import { root } from '../../src/cli/shell/root.ts'
import { configFor, migrateLocalShards } from '../../src/cli/wrangler/local-shards.ts'
import { OPERATOR_TOKEN, SIGNING_KEY } from './stack.ts'

const START_MS = 60_000
const POLL_MS = 20

export interface KillableStack {
  url: URL
  /** The number of kills so far. A request sent before a kill and answered after it, if at all, was interrupted. */
  readonly kills: number
  /** Restarts it on the same port and with the same state. Resolves when it answers. */
  start(): Promise<void>
  /** Sends SIGKILL to the runtime and all its children, in the middle of their work. */
  kill(): Promise<void>
  /** Runs the cron trigger's work, which nothing triggers locally. */
  cron(): Promise<void>
  /** The directory's own storage, read-only, opened without the runtime, which may be running. The caller closes it. */
  openDirectory(): DatabaseSync
  /**
   * The shards' databases by shard id, opened without the runtime. The caller closes them. To write to them, kill the
   * runtime first.
   */
  openShards(options?: { isWritable: boolean }): Map<string, DatabaseSync>
  /** The errors that the runtime has logged since its first start, one JSON object per line. */
  errors(): string[]
  /** Kills it and deletes its state. */
  close(): Promise<void>
}

/**
 * Bundles the Worker like a deployment, and starts it like `wrangler dev` but without wrangler, which would bundle it
 * again at each start. A start takes 1 s instead of 3.
 */
export async function startKillableStack({
  shards,
  vars,
}: {
  shards: number
  vars: Record<string, string>
}): Promise<KillableStack> {
  const folder = mkdtempSync(path.join(tmpdir(), 'banyan-kill-'))
  const port = await freePort()
  const { configPath } = configFor(shards)
  await Promise.all([bundle(configPath, path.join(folder, 'worker')), migrateLocalShards(configPath, folder)])
  const optionsFile = path.join(folder, 'options.json')
  writeFileSync(optionsFile, JSON.stringify(runtimeOptions(folder, port, configPath, vars)))
  const stack = new Processes(folder, port, optionsFile)
  await stack.start()
  return stack
}

function runtimeOptions(folder: string, port: number, configPath: string, vars: Record<string, string>): object {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(configPath)
  const { modulesRules: _, ...options } = workerOptions // an option of the bundler
  const worker = path.join(folder, 'worker')
  return {
    host: '127.0.0.1',
    port,
    cf: false,
    resourcePersistencePath: path.join(folder, 'v3'),
    resourceTmpPath: path.join(folder, 'tmp'),
    unsafeTriggerHandlers: true,
    workers: [
      {
        ...options,
        name: 'banyan',
        bindings: { ...(options.bindings as object), RATE_LIMITS: 'off', SIGNING_KEY, OPERATOR_TOKEN, ...vars },
        modules: true,
        modulesRoot: worker,
        scriptPath: path.join(worker, 'main.js'),
      },
    ],
  }
}

class Processes implements KillableStack {
  readonly url: URL
  readonly #folder: string
  readonly #optionsFile: string
  readonly #logFile: string
  #child: ChildProcess | null = null
  #kills = 0

  constructor(folder: string, port: number, optionsFile: string) {
    this.#folder = folder
    this.#optionsFile = optionsFile
    this.#logFile = path.join(folder, 'log')
    this.url = new URL(`http://127.0.0.1:${port}`)
  }

  get kills(): number {
    return this.#kills
  }

  errors(): string[] {
    return this.#output()
      .split('\n')
      .filter((line) => line.startsWith('{"level":"error"'))
  }

  async start(): Promise<void> {
    // A separate process group, so that one signal reaches workerd too.
    const log = openSync(this.#logFile, 'a')
    const child = spawn(process.execPath, [path.join(import.meta.dirname, 'killable-runtime.ts'), this.#optionsFile], {
      cwd: root,
      detached: true,
      // A killed process leaves temporary files. Here they are deleted with the folder.
      env: { ...process.env, TMPDIR: this.#folder },
      stdio: ['pipe', log, log],
    })
    closeSync(log)
    this.#child = child
    for (const deadline = Date.now() + START_MS; !(await this.#answers()); await sleep(POLL_MS))
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`The runtime did not start:\n${this.#output().slice(-5_000)}`)
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    this.#kills++
    process.kill(-child.pid!, 'SIGKILL')
    await gone
    // workerd is not a child of this process, so its end shows only when it stops answering.
    while (await this.#answers()) await sleep(POLL_MS)
  }

  async cron(): Promise<void> {
    const response = await fetch(new URL('/cdn-cgi/local/scheduled', this.url))
    const text = await response.text()
    if (!response.ok) throw new Error(`The cron trigger answered ${response.status}: ${text}`)
  }

  openDirectory(): DatabaseSync {
    const [file] = this.#files('v3/do/*-DirectoryObject')
    return new DatabaseSync(file!, { readOnly: true })
  }

  openShards({ isWritable } = { isWritable: false }): Map<string, DatabaseSync> {
    const databases = this.#files('v3/d1/*').map((file) => new DatabaseSync(file, { readOnly: !isWritable }))
    const idOf = (database: DatabaseSync) =>
      (database.prepare('SELECT shard FROM shard_identity').get() as { shard: string }).shard
    return new Map(
      databases.map((database) => [idOf(database), database] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
    )
  }

  async close(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /**
   * The same folder has `metadata.sqlite`, the runtime's own file, which lists the storages of a kind and their alarms.
   */
  #files(kind: string): string[] {
    return globSync(`${kind}/*.sqlite`, { cwd: this.#folder })
      .filter((file) => !file.endsWith('metadata.sqlite'))
      .map((file) => path.join(this.#folder, file))
  }

  #output(): string {
    return readFileSync(this.#logFile, 'utf8')
  }

  async #answers(): Promise<boolean> {
    try {
      await (await fetch(new URL('/healthz', this.url))).text()
      return true
    } catch {
      return false
    }
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
