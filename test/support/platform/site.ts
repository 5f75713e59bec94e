/** What answers at the address of a deployed Worker: the uploaded bundle in the runtime, or a stand-in for it. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { probeShards } from '../../../src/sharding/probe.ts'
import { surveyReplicas } from '../../../src/sharding/replica-survey.ts'
import { contentOf, schemaOf } from '../database-copy.ts'
import type { DatabaseRoom, DoubleDatabase, Engine, Statement } from './databases.ts'
import type { DoubleBinding, DoubleVersion } from './scripts.ts'
import type { StoreRoom } from './stores.ts'
import { type Wording, wordedDatabase } from './worded-database.ts'

/** A running version. */
export interface Running {
  respond(request: Request): Promise<Response>
  close(): Promise<void>
}

/** Serves the live version at its own address. Before the first version it answers 404, like the platform. */
export class Site {
  running: Running | null = null
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response))
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  async close(): Promise<void> {
    await this.running?.close()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const { method = 'GET', url = '/', headers } = incoming
    const init = { method, headers: headers as Record<string, string>, redirect: 'manual' as const }
    const request = new Request(
      `http://${headers.host}${url}`,
      method === 'GET' || method === 'HEAD' ? init : { ...init, body: Buffer.concat(chunks) },
    )
    const response = this.running
      ? await this.running.respond(request)
      : new Response('There is nothing here yet', { status: 404 })
    outgoing.writeHead(response.status, Object.fromEntries(response.headers))
    outgoing.end(Buffer.from(await response.arrayBuffer()))
  }
}

/** Runs uploaded versions in workerd. Their databases get everything that was sent to the double's databases. */
export class RuntimeSite {
  #runtime: Miniflare | null = null
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'banyan-double-'))
  readonly #applied = new Map<string, number>()
  readonly #rooms: { databases: DatabaseRoom; stores: StoreRoom }

  constructor(rooms: { databases: DatabaseRoom; stores: StoreRoom }) {
    this.#rooms = rooms
  }

  async start(version: DoubleVersion): Promise<Running> {
    const options = convertV4MiniflareOptions(this.#options(version))
    if (this.#runtime) await this.#runtime.setOptions(options)
    else this.#runtime = new Miniflare(options)
    const runtime = this.#runtime
    await runtime.ready
    for (const { name, id } of bindings<{ id: string }>(version, 'd1')) await this.#join(runtime, name, id)
    return {
      respond: async (request) => {
        const body = request.method === 'GET' || request.method === 'HEAD' ? null : await request.arrayBuffer()
        const init = {
          method: request.method,
          headers: Object.fromEntries(request.headers),
          redirect: 'manual' as const,
        }
        const response = await runtime.dispatchFetch(request.url, body ? { ...init, body } : init)
        return new Response(response.status === 204 || response.status === 304 ? null : await response.arrayBuffer(), {
          status: response.status,
          headers: Object.fromEntries(response.headers),
        })
      },
      close: async () => {
        await runtime.dispose()
        rmSync(this.#folder, { recursive: true, force: true })
      },
    }
  }

  /** From now on the database is the Worker's own: the API's calls are sent to it too. */
  async #join(runtime: Miniflare, binding: string, id: string): Promise<void> {
    const double = this.#rooms.databases.get(id)
    const live = await runtime.getD1Database(binding)
    const engine = d1Engine(live as unknown as D1Database)
    if (!this.#applied.has(id)) for (const { statements } of double.history) await engine.batch(statements)
    this.#applied.set(id, double.history.length)
    double.engine = engine
  }

  #options(version: DoubleVersion): Parameters<typeof convertV4MiniflareOptions>[0] {
    const assets = path.join(this.#folder, version.id)
    for (const [file, content] of version.assets) {
      mkdirSync(path.dirname(path.join(assets, file)), { recursive: true })
      writeFileSync(path.join(assets, file), content)
    }
    const values = bindings<{ text: string }>(version, 'plain_text', 'secret_text')
    const [main, ...others] = [...version.modules].sort(([name]) => (name === version.mainModule ? -1 : 1))
    return {
      host: '127.0.0.1',
      cf: false,
      handleStructuredLogs: () => {},
      resourcePersistencePath: path.join(this.#folder, 'state'),
      workers: [
        {
          name: 'banyan',
          modulesRoot: '/',
          modules: [main!, ...others].map(([name, { contents }]) => ({ type: 'ESModule', path: `/${name}`, contents })),
          compatibilityDate: version.compatibilityDate,
          compatibilityFlags: version.compatibilityFlags,
          bindings: Object.fromEntries(values.map(({ name, text }) => [name, text])),
          d1Databases: byName(bindings<{ id: string }>(version, 'd1'), ({ id }) => id),
          kvNamespaces: byName(
            bindings<{ namespace_id: string }>(version, 'kv_namespace'),
            ({ namespace_id }) => namespace_id,
          ),
          r2Buckets: byName(bindings<{ bucket_name: string }>(version, 'r2_bucket'), ({ bucket_name }) => bucket_name),
          queueProducers: byName(bindings<{ queue_name: string }>(version, 'queue'), ({ queue_name }) => queue_name),
          durableObjects: byName(
            bindings<{ class_name: string }>(version, 'durable_object_namespace'),
            ({ class_name }) => ({ className: class_name, useSQLite: true }),
          ),
          ratelimits: byName(
            bindings<{ namespace_id: string; simple: { limit: number; period?: 10 | 60 } }>(version, 'ratelimit'),
            ({ namespace_id, simple }) => ({ namespace_id, simple }),
          ),
          email: { send_email: bindings(version, 'send_email').map(({ name }) => ({ name })) },
          images: { binding: bindings(version, 'images')[0]!.name },
          assets: {
            directory: assets,
            binding: bindings(version, 'assets')[0]!.name,
            run_worker_first: true,
            routerConfig: ROUTER,
          },
        },
      ],
    }
  }
}

/** `run_worker_first`, as wrangler passes it to the runtime. */
const ROUTER = { has_user_worker: true, invoke_user_worker_ahead_of_assets: true }

function d1Engine(database: D1Database): Engine {
  return {
    async batch(statements: Statement[]) {
      const prepared = statements.map(({ sql, params = [] }) => database.prepare(sql).bind(...params))
      const done = await database.batch<Record<string, unknown>>(prepared)
      return done.map(({ results, meta }) => ({ results, changes: meta.changes }))
    },
    live: { copy: () => contentOf(database), clear: () => clear(database) },
  }
}

async function clear(database: D1Database): Promise<void> {
  const schema = await schemaOf(database)
  for (const type of ['trigger', 'view', 'table'] as const) {
    const names = schema.filter((object) => object.type === type).map(({ name }) => name)
    if (names.length > 0) await database.batch(names.map((name) => database.prepare(`DROP ${type} "${name}"`)))
  }
}

function bindings<Settings>(version: DoubleVersion, ...types: string[]) {
  return version.bindings.filter(({ type }) => types.includes(type)) as (DoubleBinding & Settings)[]
}

const byName = <B extends DoubleBinding, V>(list: B[], value: (binding: B) => V): Record<string, V> =>
  Object.fromEntries(list.map((binding) => [binding.name, value(binding)]))

const listed = (binding: string) => ({
  id: binding.toLowerCase().replace('_', '-'),
  binding,
  state: 'serving',
  slots: 1,
})

const operatorPaths = ['/operator/v1/shards', '/operator/v1/probe', '/operator/v1/replicas']

/** A database in ENAM, read from Western Europe: a replica there answers if there is one, otherwise the primary. */
function membersOf({ replication, locationHint, engine }: DoubleDatabase): D1Database {
  const isPrimary = replication === 'disabled'
  const region = isPrimary ? (locationHint ?? 'enam').toUpperCase() : 'WEUR'
  const meta = { served_by_region: region, served_by_primary: isPrimary }
  const session = {
    prepare: (sql: string) => ({ all: async () => ({ ...(await engine.batch([{ sql }]))[0], meta }) }),
  }
  return { withSession: () => session } as unknown as D1Database
}

/** Its pauses between tries take no time; its time limits are real. */
const patientClock: Clock = { now: systemClock.now, sleep: (ms) => systemClock.sleep(ms < 1_000 ? 0 : ms) }

/** Answers the requests of a deployment like the application, and succeeds only if the application could. */
export function standIn(
  version: DoubleVersion,
  databases: DatabaseRoom,
  migrations: string[],
  removed: Set<string>,
  wording: Wording,
): Running {
  const shards = bindings<{ id: string }>(version, 'd1')
  const secret = (name: string) =>
    bindings<{ text: string }>(version, 'secret_text').find((one) => one.name === name)?.text
  const variable = (name: string) =>
    bindings<{ text: string }>(version, 'plain_text').find((one) => one.name === name)?.text
  const unready = async (): Promise<string[]> => {
    const lines = secret('SIGNING_KEY') ? [] : ['SIGNING_KEY is missing']
    for (const { name, id } of shards) {
      const sql = "SELECT count(*) AS n FROM sqlite_master WHERE name = 'd1_migrations'"
      const [found] = await databases.get(id).engine.batch([{ sql }])
      const [rows] =
        found!.results[0]!.n === 0
          ? []
          : await databases.get(id).engine.batch([{ sql: 'SELECT name FROM d1_migrations' }])
      const applied = (rows?.results ?? []).map((row) => row.name)
      if (migrations.some((migration) => !applied.includes(migration))) lines.push(`${name} is not migrated`)
    }
    return lines
  }
  return {
    async respond(request) {
      const { pathname } = new URL(request.url)
      if (pathname === '/healthz') return new Response('ok')
      const lines = await unready()
      if (lines.length > 0) return new Response(lines.join('\n'), { status: 503 })
      if (pathname === '/readyz') return new Response('directory ok')
      if (pathname === '/') return new Response('<html lang="en"></html>')
      if (pathname === '/api/openapi.json') return Response.json({ paths: {} })
      if (!operatorPaths.includes(pathname)) return new Response('', { status: 404 })
      if (request.headers.get('authorization') !== `Bearer ${secret('OPERATOR_TOKEN')}`)
        return new Response('', { status: 401 })
      if (pathname === '/operator/v1/probe') {
        const { after = null } = (await request.json()) as { after?: string }
        const bound = shards.map(({ name, id }) => [name, wordedDatabase(databases.get(id).engine, wording)] as const)
        const wish = { databases: new Map(bound), after, isLeftOut: () => false, clock: patientClock }
        return Response.json(await probeShards(wish))
      }
      if (pathname === '/operator/v1/replicas') {
        const after = new URL(request.url).searchParams.get('after')
        const bound = shards.map(({ name, id }) => [name, membersOf(databases.get(id))] as const)
        const replicas = variable('REPLICAS') === 'on' ? 'on' : 'off'
        const survey = await surveyReplicas({ databases: new Map(bound), after, clock: patientClock })
        return Response.json({ replicas, waited: 0, fellBack: 0, ...survey })
      }
      if (request.method === 'POST') {
        const { binding } = (await request.json()) as { binding: string }
        if (!shards.some(({ name }) => name === binding)) return Response.json({ code: 'INVALID' }, { status: 422 })
        removed.delete(binding)
        return Response.json({ shard: listed(binding) }, { status: 201 })
      }
      const items = shards.filter(({ name }) => !removed.has(name)).map(({ name }) => listed(name))
      return Response.json({ epoch: 1, items })
    },
    close: async () => {},
  }
}
