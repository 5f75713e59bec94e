/** The resources of a deployment: databases, namespaces, buckets and queues. Each is found by its name. */
import { UserError } from '../shell/errors.ts'
import { type Platform, PlatformError } from './api.ts'

export interface Resource {
  name: string
  id: string
}

/** A kind of resource. `find` and `make` return the id. */
export interface ResourceKind {
  /** `database` */
  called: string
  find(platform: Platform, name: string): Promise<string | null>
  make(platform: Platform, name: string): Promise<string>
}

/** Where to create a database: near a region, or in a jurisdiction. */
export interface Location {
  hint: string | null
  jurisdiction: string | null
}

const oneOf = (names: string[]): string => `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`

const HINTS = ['wnam', 'enam', 'weur', 'eeur', 'apac', 'oc']
const JURISDICTIONS = ['eu', 'fedramp', 'us']

export const nowhereInParticular: Location = { hint: null, jurisdiction: null }

export const locationOptions = {
  location: {
    value: 'NEAR',
    help: `region near which Cloudflare creates new databases, not for local ones: ${oneOf(HINTS)} (default: Cloudflare’s choice)`,
  },
  jurisdiction: {
    value: 'WHERE',
    help: `jurisdiction of new databases, not for local ones: ${oneOf(JURISDICTIONS)} (default: none)`,
  },
} as const

/** Reads `--location` and `--jurisdiction`. Throws UserError. */
export function locationOf(options: { location?: string | undefined; jurisdiction?: string | undefined }): Location {
  const { location = null, jurisdiction = null } = options
  if (location !== null && jurisdiction !== null)
    throw new UserError('--location and --jurisdiction cannot be combined.', 'Remove one of them.')
  if (location !== null && !HINTS.includes(location))
    throw new UserError(`--location is "${location}".`, `Pass one of ${HINTS.join(', ')}.`)
  if (jurisdiction !== null && !JURISDICTIONS.includes(jurisdiction))
    throw new UserError(`--jurisdiction is "${jurisdiction}".`, `Pass one of ${JURISDICTIONS.join(', ')}.`)
  return { hint: location, jurisdiction }
}

/** Databases. New ones are created at the location; existing ones are found anywhere. */
export const databasesAt = ({ hint, jurisdiction }: Location): ResourceKind => ({
  called: 'database',
  async find(platform, name) {
    // The API's `name` filter also matches names that contain it.
    const found = await platform.list<{ uuid: string; name: string }>('/d1/database', { name })
    return found.find((database) => database.name === name)?.uuid ?? null
  },
  async make(platform, name) {
    const body = {
      name,
      ...(hint === null ? {} : { primary_location_hint: hint }),
      ...(jurisdiction === null ? {} : { jurisdiction }),
    }
    return (await platform.call<{ uuid: string }>({ method: 'POST', path: '/d1/database', body })).uuid
  },
})

/**
 * Refuses an existing database outside the requested location, because a database can't be moved. Without a requested
 * location, any is accepted. Throws UserError.
 */
export async function refuseElsewhere(
  platform: Platform,
  { name, id }: Resource,
  { hint, jurisdiction }: Location,
): Promise<void> {
  const found = await platform.call<{ jurisdiction?: string | null; running_in_region?: string | null }>({
    method: 'GET',
    path: `/d1/database/${id}`,
  })
  const isIn = found.jurisdiction ?? null
  const region = found.running_in_region ?? null
  const isElsewhere =
    (jurisdiction !== null && isIn !== jurisdiction) || (hint !== null && region?.toLowerCase() !== hint)
  if (!isElsewhere) return
  throw new UserError(
    `The database ${name} already exists, in ${region ?? 'an unknown region'} and ${isIn ? `the jurisdiction ${isIn}` : 'no jurisdiction'}, and cannot be moved.`,
    `Remove ${jurisdiction === null ? '--location' : '--jurisdiction'} to use it there. Or delete it while it is empty (npx wrangler d1 delete ${name}), and run the command again.`,
  )
}

export const databases = databasesAt(nowhereInParticular)

export const namespaces: ResourceKind = {
  called: 'KV namespace',
  async find(platform, name) {
    const found = await platform.list<{ id: string; title: string }>('/storage/kv/namespaces')
    return found.find(({ title }) => title === name)?.id ?? null
  },
  make: async (platform, name) =>
    (await platform.call<{ id: string }>({ method: 'POST', path: '/storage/kv/namespaces', body: { title: name } })).id,
}

export const buckets: ResourceKind = {
  called: 'R2 bucket',
  async find(platform, name) {
    const path = `/r2/buckets/${encodeURIComponent(name)}`
    return (await platform.find<{ name: string }>({ method: 'GET', path }))?.name ?? null
  },
  make: async (platform, name) =>
    (await platform.call<{ name: string }>({ method: 'POST', path: '/r2/buckets', body: { name } })).name,
}

export const queues: ResourceKind = {
  called: 'queue',
  find: async (platform, name) => (await findQueue(platform, name))?.queue_id ?? null,
  make: async (platform, name) =>
    (await platform.call<{ queue_id: string }>({ method: 'POST', path: '/queues', body: { queue_name: name } }))
      .queue_id,
}

export interface FoundQueue {
  queue_id: string
  queue_name: string
  consumers?: { script?: string; service?: string; script_name?: string }[]
}

export async function findQueue(platform: Platform, name: string): Promise<FoundQueue | null> {
  const found = await platform.list<FoundQueue>('/queues', { name })
  return found.find((queue) => queue.queue_name === name) ?? null
}

/**
 * Creates a resource that was not found. If the answer is lost, the resource may still have been created, and a second
 * call could create a second database of that name. So it looks again, and repeats the call only if nothing is found.
 */
export async function makeOne(kind: ResourceKind, platform: Platform, name: string): Promise<string> {
  try {
    return await kind.make(platform, name)
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error
    const isThere = await kind.find(platform, name)
    if (isThere !== null) return isThere
    if (error.isCertain) throw error
    return kind.make(platform, name)
  }
}

const objectPath = (bucket: string, key: string): string =>
  `/r2/buckets/${encodeURIComponent(bucket)}/objects/${key.split('/').map(encodeURIComponent).join('/')}`

/** An object's bytes, or null. */
export const readObject = (platform: Platform, bucket: string, key: string): Promise<Uint8Array | null> =>
  platform.bytes(objectPath(bucket, key))

export async function putObject(
  platform: Platform,
  bucket: string,
  key: string,
  object: { bytes: Uint8Array; contentType: string; cacheControl: string },
): Promise<void> {
  const headers = { 'content-type': object.contentType, 'cache-control': object.cacheControl }
  await platform.call({ method: 'PUT', path: objectPath(bucket, key), body: object.bytes, headers })
}
