import './quiet.ts'
import '../../src/cli/wrangler/local-environment.ts'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, type WorkerdStructuredLog } from 'miniflare'
import { unstable_getMiniflareWorkerOptions } from 'wrangler'
import { migrateLocalShards } from '../../src/cli/wrangler/local-shards.ts'
import { present } from '../../src/core/present.ts'
import { bundle } from './bundle.ts'
import { type Address, Instance } from './instance.ts'
import type { ReplicationStatus } from './replicated-worker.ts'

export interface ClusterOptions {
  /** The wrangler configuration that binds the shards. */
  configPath: string
  /** The folder of the data, or null for a temporary one. */
  persistTo: string | null
  /** The number of web servers. */
  webs: number
  vars: Record<string, string>
  /** Gives the only shard three read replicas, which lag by at most this long (ms). */
  lagMs?: number | undefined
  /** Receives the lines of the application's log. */
  onLog?(line: WorkerdStructuredLog): void
  /** Receives the runtime's own messages, for example about mails. */
  onMessage?(message: string): void
}

type MiniflareOptions = Parameters<typeof convertV4MiniflareOptions>[0]

/** The Worker with the queues' consumers, the cron and the Durable Objects. It answers no client. */
const BACKGROUND = 'banyan'

const webName = (index: number) => `web-${index + 1}`

/**
 * The application with several web servers in one local runtime. Each is a Worker with an isolate of its own, behind a
 * relay that can fail. They share only the databases, KV, R2, the queues, and the Durable Objects.
 */
export class Cluster {
  readonly instances: Instance[] = []
  readonly #folder: string
  readonly #options: MiniflareOptions
  #runtime: Miniflare

  private constructor(folder: string, options: MiniflareOptions) {
    this.#folder = folder
    this.#options = options
    this.#runtime = new Miniflare(convertV4MiniflareOptions(options))
  }

  /** Bundles the Worker, migrates the databases, and starts the runtime. */
  static async start({ configPath, persistTo, webs, vars, lagMs, onLog, onMessage }: ClusterOptions): Promise<Cluster> {
    const folder = mkdtempSync(path.join(tmpdir(), 'banyan-cluster-'))
    const data = persistTo ?? folder
    const name = lagMs === undefined ? 'worker' : 'replicated-worker'
    // Only the balancer and this process know it, so no client reaches a web server directly.
    const key = randomBytes(24).toString('base64url')
    await Promise.all([
      bundle(configPath, path.join(folder, 'worker'), [path.join(import.meta.dirname, `${name}.ts`)]),
      migrateLocalShards(configPath, data),
    ])
    const cluster = new Cluster(folder, {
      log: new RuntimeLog(onMessage ?? (() => undefined)),
      handleStructuredLogs: onLog ?? (() => undefined),
      host: '127.0.0.1',
      port: 0,
      cf: false,
      resourcePersistencePath: path.join(data, 'v3'),
      resourceTmpPath: path.join(folder, 'tmp'),
      unsafeTriggerHandlers: true,
      workers: workersOf({
        configPath,
        scriptPath: path.join(folder, 'worker', `${name}.js`),
        webs,
        vars: { ...vars, CLUSTER_KEY: key, ...(lagMs === undefined ? {} : { LAG_MS: String(lagMs) }) },
        hasReplicas: lagMs !== undefined,
      }),
    })
    for (let index = 0; index < webs; index++)
      cluster.instances.push(
        await Instance.start(webName(index), await cluster.#targetOf(index), { 'x-cluster-key': key }),
      )
    return cluster
  }

  /** Ends the runtime, and starts it again with the stored data. */
  async restart(): Promise<void> {
    await this.#runtime.dispose()
    this.#runtime = new Miniflare(convertV4MiniflareOptions(this.#options))
    for (const [index, instance] of this.instances.entries()) instance.target = await this.#targetOf(index)
  }

  instance(web: number): Instance {
    return present(this.instances[web], `web server ${web}`)
  }

  /** Sends a request to one web server, without a balancer. */
  fetch(web: number, pathname: string, init: RequestInit = {}): Promise<Response> {
    const { address, headers: own } = this.instance(web)
    const { host, port } = address
    // A connection that is kept open could break with the web server, and fail a later request.
    const headers = new Headers({ ...Object.fromEntries(new Headers(init.headers)), ...own, connection: 'close' })
    return fetch(`http://${host}:${port}${pathname}`, { ...init, headers, redirect: 'manual' })
  }

  /** Breaks bindings of one web server (`SHARD_001,KV`), or restores all of them (''). */
  async breakDown(web: number, bindings: string): Promise<void> {
    await this.fetch(web, '/', { headers: { 'x-cluster-broken': bindings } })
  }

  /** Starts the replicas, breaks their primary, or promotes one of them. Returns the reads and writes of each member. */
  async replication(verb: 'start' | 'lose' | 'promote' | 'status'): Promise<ReplicationStatus> {
    const response = await this.fetch(0, '/', { headers: { 'x-cluster-replication': verb } })
    if (!response.ok) throw new Error(await response.text())
    return (await response.json()) as ReplicationStatus
  }

  /** The databases by binding name. */
  async databases(): Promise<Map<string, D1Database>> {
    const env = await this.#runtime.getBindings<Record<string, unknown>>(BACKGROUND)
    const names = Object.keys(env).filter((name) => /^SHARD_\d{3}$/.test(name))
    return new Map(names.sort().map((name) => [name, env[name] as D1Database]))
  }

  async close(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.close()))
    await this.#runtime.dispose()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #targetOf(index: number): Promise<Address> {
    const { hostname, port } = await this.#runtime.unsafeGetDirectURL(webName(index))
    return { host: hostname, port: Number(port) }
  }
}

class RuntimeLog extends Log {
  readonly #onMessage: (message: string) => void

  constructor(onMessage: (message: string) => void) {
    super(LogLevel.INFO)
    this.#onMessage = onMessage
  }

  override logWithLevel(_level: LogLevel, message: string): void {
    this.#onMessage(message)
  }
}

interface WorkersOptions {
  configPath: string
  scriptPath: string
  webs: number
  vars: Record<string, string>
  hasReplicas: boolean
}

const REPLICAS = { REPLICA_1: 'replica-1', REPLICA_2: 'replica-2', REPLICA_3: 'replica-3' }

/** The Worker that has the background work, and the web servers. They run the same code. */
function workersOf({ configPath, scriptPath, webs, vars, hasReplicas }: WorkersOptions) {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(configPath)
  const { modulesRules: _, ...shipped } = workerOptions // an option of the bundler
  const databases = shipped.d1Databases as Record<string, string>
  const background = {
    ...shipped,
    name: BACKGROUND,
    bindings: { ...(shipped.bindings as Record<string, string>), ...vars },
    d1Databases: hasReplicas ? { ...databases, ...REPLICAS } : databases,
    modules: true as const,
    modulesRoot: path.dirname(scriptPath),
    scriptPath,
  }
  const objects = Object.entries(shipped.durableObjects as Record<string, { className: string; useSQLite: boolean }>)
  const web = {
    ...background,
    queueConsumers: {},
    cronTriggers: [],
    durableObjects: Object.fromEntries(objects.map(([name, one]) => [name, { ...one, scriptName: BACKGROUND }])),
    ...(hasReplicas ? { serviceBindings: { REPLICATION: { name: BACKGROUND, entrypoint: 'ReplicatedShard' } } } : {}),
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
  }
  return [background, ...Array.from({ length: webs }, (_, index) => ({ ...web, name: webName(index) }))]
}
