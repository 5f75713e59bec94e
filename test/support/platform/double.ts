/**
 * A double of the platform's REST API with one account: real databases, stored objects, versions with their bindings,
 * and the Worker served at its own address. Its calls can be made to fail.
 */
import '../../../src/cli/wrangler/local-environment.ts'
import { createHash } from 'node:crypto'
import { readMigrations } from '../../../src/cli/migrations/shard-migrations.ts'
import { DatabaseRoom } from './databases.ts'
import { ApiServer, type Fault, type RecordedCall } from './http.ts'
import { ScriptRoom } from './scripts.ts'
import { RuntimeSite, Site, standIn } from './site.ts'
import { StoreRoom } from './stores.ts'
import type { Wording } from './worded-database.ts'

const ACCOUNT = '0123456789abcdef0123456789abcdef'
const TOKEN = 'a-token-of-the-double'

export interface PlatformDouble {
  /** The environment variables that a command needs. */
  environment: Record<string, string>
  /** The address of the deployed Worker. */
  siteUrl: string
  calls: RecordedCall[]
  /** Bindings of shards that the stand-in's map no longer names. */
  removedFromMap: Set<string>
  /** How the databases' bindings word their errors; like the local runtime by default. */
  wording: Wording
  databases: DatabaseRoom
  stores: StoreRoom
  scripts: ScriptRoom
  /** Makes the n-th call from now on fail once. */
  failAt(number: number, fault: Fault): void
  /** From the n-th call on, nothing can be reached, as if the network or the caller had failed. */
  goAwayAt(number: number): void
  /** Makes every call from now on fail like this. */
  alwaysFail(fault: Fault): void
  /** Ends all faults. */
  recover(): void
  /** The platform's state, without ids and times, which differ between runs. */
  snapshot(): Promise<unknown>
  close(): Promise<void>
}

/**
 * Starts a double. `serving`: 'runtime' runs the uploaded bundle; 'stand-in' answers in its place, without a start-up
 * delay.
 */
export async function startPlatform({ serving }: { serving: 'runtime' | 'stand-in' }): Promise<PlatformDouble> {
  const databases = new DatabaseRoom()
  const stores = new StoreRoom()
  const scripts = new ScriptRoom()
  const site = new Site()
  const removedFromMap = new Set<string>()
  const runtime = serving === 'runtime' ? new RuntimeSite({ databases, stores }) : null
  const migrations = readMigrations().map(({ name }) => name)
  scripts.onLive = async (_, version) => {
    site.running = runtime
      ? await runtime.start(version)
      : standIn(version, databases, migrations, removedFromMap, (text) => platform.wording(text))
  }
  const api = new ApiServer([...databases.routes, ...stores.routes, ...scripts.routes], {
    account: ACCOUNT,
    token: TOKEN,
  })
  const [apiUrl, siteUrl] = await Promise.all([api.listen(), site.listen()])
  const from = (number: number) => api.calls.length + number
  const platform: PlatformDouble = {
    environment: { CLOUDFLARE_API_BASE_URL: apiUrl, CLOUDFLARE_API_TOKEN: TOKEN, CLOUDFLARE_ACCOUNT_ID: ACCOUNT },
    siteUrl,
    calls: api.calls,
    removedFromMap,
    wording: (text) => text,
    databases,
    stores,
    scripts,
    failAt(number, fault) {
      const at = from(number)
      api.failing = (n) => (n === at ? fault : null)
    },
    goAwayAt(number) {
      const at = from(number)
      api.failing = (n) => (n >= at ? 'reset before' : null)
    },
    alwaysFail(fault) {
      api.failing = () => fault
    },
    recover() {
      api.failing = () => null
    },
    snapshot: async () => structuredClone(await snapshot({ databases, stores, scripts })),
    async close() {
      await Promise.all([api.close(), site.close()])
    },
  }
  return platform
}

async function snapshot({ databases, stores, scripts }: Pick<PlatformDouble, 'databases' | 'stores' | 'scripts'>) {
  const nameOf = (id: unknown) =>
    databases.databases.find((database) => database.id === id)?.name ??
    stores.namespaces.find((namespace) => namespace.id === id)?.title ??
    id
  const described = await Promise.all(
    databases.databases.map(async ({ name, engine }) => ({ name, ...(await contentOf(engine)) })),
  )
  return {
    databases: described.sort((a, b) => (a.name < b.name ? -1 : 1)),
    namespaces: stores.namespaces.map(({ title }) => title),
    objects: [...stores.buckets].map(([name, objects]) => ({
      name,
      objects: [...objects]
        .map(([key, { bytes, ...rest }]) => ({
          key,
          sha256: createHash('sha256').update(bytes).digest('hex'),
          ...rest,
        }))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    })),
    queues: stores.queues
      .map(({ queue_name, consumers }) => ({
        queue_name,
        consumers: consumers.map(({ consumer_id: _, ...rest }) => rest),
      }))
      .sort((a, b) => (a.queue_name < b.queue_name ? -1 : 1)),
    scripts: [...scripts.scripts].map(([name, script]) => ({
      name,
      tag: script.live?.annotations['workers/tag'],
      bindings: (script.live?.bindings ?? [])
        .map(({ type, name, text, ...settings }) => ({
          type,
          name,
          ...(type === 'secret_text' ? { length: String(text).length } : { text }),
          ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, nameOf(value)])),
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      schedules: script.schedules,
      isOnWorkersDev: script.isOnWorkersDev,
    })),
  }
}

async function contentOf(engine: DatabaseRoom['databases'][number]['engine']) {
  const read = async (sql: string) => (await engine.batch([{ sql }]))[0]!.results
  const objects = (
    await read("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '_cf_%' ORDER BY name")
  ).map(({ name }) => name)
  return {
    objects,
    migrations: objects.includes('d1_migrations') ? await read('SELECT name FROM d1_migrations ORDER BY id') : [],
  }
}
