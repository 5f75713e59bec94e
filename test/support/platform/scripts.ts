/** The double's Workers: uploads, versions, deployments, assets and triggers. */
import { createHash } from 'node:crypto'
import { ApiRefusal, type ApiRequest, type Route } from './http.ts'

export interface DoubleBinding {
  type: string
  name: string
  [setting: string]: unknown
}

export interface DoubleVersion {
  id: string
  createdAt: string
  annotations: Record<string, string>
  bindings: DoubleBinding[]
  mainModule: string
  modules: Map<string, { type: string; contents: string }>
  compatibilityDate: string
  compatibilityFlags: string[]
  /** URL path → content. */
  assets: Map<string, Buffer>
}

interface Metadata {
  main_module: string
  bindings?: DoubleBinding[]
  keep_bindings?: string[]
  annotations?: Record<string, string>
  compatibility_date?: string
  compatibility_flags?: string[]
  migrations?: { new_tag: string; old_tag?: string }
  assets?: { jwt: string }
}

interface DoubleDeployment {
  id: string
  created_on: string
  versions: { version_id: string; percentage: number }[]
  annotations: Record<string, string>
}

export class DoubleScript {
  readonly versions: DoubleVersion[] = []
  /** Newest first. */
  readonly deployments: DoubleDeployment[] = []
  migrationTag: string | null = null
  schedules: string[] = []
  isOnWorkersDev = false

  get live(): DoubleVersion | null {
    const id = this.deployments[0]?.versions[0]?.version_id
    return this.versions.find((version) => version.id === id) ?? null
  }
}

export class ScriptRoom {
  readonly scripts = new Map<string, DoubleScript>()
  /** Called with each version that becomes live. */
  onLive: (name: string, version: DoubleVersion) => Promise<void> = async () => {}
  /** The account's subdomain of workers.dev. */
  subdomain: string | null = 'acme'
  readonly #contents = new Map<string, Buffer>()
  readonly #manifests = new Map<string, Record<string, { hash: string; size: number }>>()

  readonly routes: Route[] = [
    ['GET', '/workers/subdomain', () => this.#subdomain()],
    ['GET', '/workers/services/:name', (_, name) => this.#service(name!)],
    ['GET', '/workers/workers/:name', (_, name) => ({ subdomain: subdomainOf(this.get(name!)) })],
    ['POST', '/workers/assets/upload', (request) => this.#uploadAssets(request)],
    ['POST', '/workers/scripts/:name/assets-upload-session', (request) => this.#assetSession(request)],
    ['PUT', '/workers/scripts/:name', (request, name) => this.#putScript(request, name!)],
    ['POST', '/workers/scripts/:name/versions', (request, name) => this.#postVersion(request, name!)],
    ['GET', '/workers/scripts/:name/versions', (_, name) => ({ items: this.get(name!).versions.map(described) })],
    ['GET', '/workers/scripts/:name/versions/:id', (_, name, id) => described(this.#version(name!, id!))],
    ['GET', '/workers/scripts/:name/deployments', (_, name) => ({ deployments: this.get(name!).deployments })],
    ['POST', '/workers/scripts/:name/deployments', (request, name) => this.#postDeployment(request, name!)],
    ['GET', '/workers/scripts/:name/secrets', (_, name) => this.#secrets(name!)],
    [
      'GET',
      '/workers/scripts/:name/settings',
      (_, name) => ({ bindings: described(this.#live(name!)).resources.bindings }),
    ],
    ['PATCH', '/workers/scripts/:name/script-settings', (_, name) => this.get(name!) && {}],
    ['GET', '/workers/scripts/:name/subdomain', (_, name) => subdomainOf(this.get(name!))],
    ['POST', '/workers/scripts/:name/subdomain', (request, name) => this.#setSubdomain(request, name!)],
    ['GET', '/workers/scripts/:name/schedules', (_, name) => schedulesOf(this.get(name!))],
    ['PUT', '/workers/scripts/:name/schedules', (request, name) => this.#setSchedules(request, name!)],
  ]

  get(name: string): DoubleScript {
    const script = this.scripts.get(name)
    if (!script) throw new ApiRefusal(404, 10007, 'This Worker does not exist on your account.')
    return script
  }

  #live(name: string): DoubleVersion {
    const { live } = this.get(name)
    if (!live) throw new ApiRefusal(404, 10007, 'This Worker has no deployment.')
    return live
  }

  #subdomain() {
    if (this.subdomain === null) throw new ApiRefusal(404, 10007, 'No subdomain')
    return { subdomain: this.subdomain }
  }

  #service(name: string) {
    const script = this.scripts.get(name)
    if (!script) throw new ApiRefusal(404, 10090, 'This service was not found.')
    const tag = createHash('sha256').update(name).digest('hex').slice(0, 32)
    const { migrationTag } = script
    const described = {
      tag,
      tags: null,
      last_deployed_from: 'wrangler',
      ...(migrationTag ? { migration_tag: migrationTag } : {}),
    }
    return { id: name, default_environment: { environment: 'production', script: described } }
  }

  #version(name: string, id: string): DoubleVersion {
    const version = this.get(name).versions.find((one) => one.id === id)
    if (!version) throw new ApiRefusal(404, 10007, `There is no version ${id}.`)
    return version
  }

  #assetSession(request: ApiRequest) {
    const { manifest } = request.json<{ manifest: Record<string, { hash: string; size: number }> }>()
    const jwt = token(this.#manifests.size)
    this.#manifests.set(jwt, manifest)
    const missing = [...new Set(Object.values(manifest).map(({ hash }) => hash))].filter(
      (hash) => !this.#contents.has(hash),
    )
    return { jwt, buckets: missing.length > 0 ? [missing] : [] }
  }

  async #uploadAssets(request: ApiRequest) {
    const jwt = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (!this.#manifests.has(jwt)) throw new ApiRefusal(401, 10000, 'Authentication error')
    for (const [hash, part] of await request.form())
      this.#contents.set(hash, Buffer.from(typeof part === 'string' ? part : await part.text(), 'base64'))
    return { jwt }
  }

  async #putScript(request: ApiRequest, name: string) {
    const script = this.scripts.get(name) ?? new DoubleScript()
    const metadata = await metadataOf(request)
    const version = await this.#newVersion(request, metadata, script)
    this.scripts.set(name, script)
    if (metadata.migrations) script.migrationTag = metadata.migrations.new_tag
    await this.#makeLive(name, script, version.id, '')
    return { id: name, etag: version.id, deployment_id: version.id.replaceAll('-', ''), startup_time_ms: 5 }
  }

  async #postVersion(request: ApiRequest, name: string) {
    const version = await this.#newVersion(request, await metadataOf(request), this.get(name))
    return { id: version.id, startup_time_ms: 5, resources: { script: { etag: version.id } } }
  }

  async #newVersion(request: ApiRequest, metadata: Metadata, script: DoubleScript): Promise<DoubleVersion> {
    const { keep_bindings: kept = [], bindings = [] } = metadata
    const inherited = (script.live?.bindings ?? []).filter(
      ({ type, name }) =>
        !bindings.some((binding) => binding.name === name && binding.type !== 'inherit') &&
        (kept.includes(type) || bindings.some((binding) => binding.name === name && binding.type === 'inherit')),
    )
    const modules: DoubleVersion['modules'] = new Map()
    for (const [name, part] of await request.form())
      if (typeof part !== 'string' && part.type !== 'application/source-map')
        modules.set(name, { type: part.type, contents: await part.text() })
    const manifest = metadata.assets ? this.#manifests.get(metadata.assets.jwt) : {}
    if (!manifest) throw new ApiRefusal(400, 10161, 'The assets of this upload are not complete')
    const version: DoubleVersion = {
      id: crypto.randomUUID(),
      createdAt: new Date().toISOString(),
      annotations: metadata.annotations ?? {},
      bindings: [...bindings.filter(({ type }) => type !== 'inherit'), ...inherited],
      mainModule: metadata.main_module,
      modules,
      compatibilityDate: metadata.compatibility_date ?? '',
      compatibilityFlags: metadata.compatibility_flags ?? [],
      assets: new Map(Object.entries(manifest).map(([path, { hash }]) => [path, this.#contents.get(hash)!])),
    }
    script.versions.push(version)
    return version
  }

  async #postDeployment(request: ApiRequest, name: string) {
    const script = this.get(name)
    const { versions, annotations } = request.json<DoubleDeployment>()
    for (const { version_id } of versions) this.#version(name, version_id)
    return this.#makeLive(name, script, versions[0]!.version_id, annotations?.['workers/message'] ?? '')
  }

  async #makeLive(name: string, script: DoubleScript, versionId: string, message: string) {
    const deployment: DoubleDeployment = {
      id: crypto.randomUUID(),
      created_on: new Date().toISOString(),
      versions: [{ version_id: versionId, percentage: 100 }],
      annotations: { 'workers/message': message },
    }
    script.deployments.unshift(deployment)
    await this.onLive(name, script.live!)
    return deployment
  }

  #secrets(name: string) {
    const bindings = this.get(name).live?.bindings ?? []
    return bindings
      .filter(({ type }) => type === 'secret_text')
      .map((secret) => ({ name: secret.name, type: secret.type }))
  }

  #setSubdomain(request: ApiRequest, name: string) {
    const script = this.get(name)
    script.isOnWorkersDev = request.json<{ enabled: boolean }>().enabled
    return subdomainOf(script)
  }

  #setSchedules(request: ApiRequest, name: string) {
    const script = this.get(name)
    script.schedules = request.json<{ cron: string }[]>().map(({ cron }) => cron)
    return schedulesOf(script)
  }
}

const subdomainOf = ({ isOnWorkersDev }: DoubleScript) => ({ enabled: isOnWorkersDev, previews_enabled: false })

const schedulesOf = ({ schedules }: DoubleScript) => ({ schedules: schedules.map((cron) => ({ cron })) })

/** The API never returns a secret's value. */
const described = ({ id, createdAt, annotations, bindings }: DoubleVersion) => ({
  id,
  annotations,
  metadata: { created_on: createdAt },
  resources: {
    bindings: bindings.map(({ type, text, ...rest }) =>
      type === 'secret_text' ? { type, ...rest } : { type, ...(text === undefined ? {} : { text }), ...rest },
    ),
  },
})

async function metadataOf(request: ApiRequest): Promise<Metadata> {
  const part = (await request.form()).get('metadata')
  return JSON.parse(typeof part === 'string' ? part : await part!.text()) as Metadata
}

/** Has the form of a JWT, because wrangler reads its expiry. */
const token = (number: number): string =>
  `e30.${Buffer.from(JSON.stringify({ exp: 9_999_999_999, number })).toString('base64url')}.signature`
