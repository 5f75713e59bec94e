/** What a deployment stands on: databases, namespaces, buckets, queues. Each is found by its name. */
import { UserError } from '../shell/errors.ts'
import { type Platform, PlatformError } from './api.ts'

export interface Resource {
  name: string
  id: string
}

/** A kind of resource: how one is found by its name, and made. Both answer with its id. */
export interface ResourceKind {
  /** `database` */
  called: string
  find(platform: Platform, name: string): Promise<string | null>
  make(platform: Platform, name: string): Promise<string>
}

/** Where a database is made: near a place, or inside a jurisdiction. */
export interface Location {
  hint: string | null
  jurisdiction: string | null
}

const HINTS = ['wnam', 'enam', 'weur', 'eeur', 'apac', 'oc']
const JURISDICTIONS = ['eu', 'fedramp']

/** Reads `--location` and `--jurisdiction`. Throws UserError. */
export function locationOf(options: { location?: string | undefined; jurisdiction?: string | undefined }): Location {
  const { location = null, jurisdiction = null } = options
  if (location !== null && jurisdiction !== null)
    throw new UserError('--location and --jurisdiction exclude each other.', 'Leave one of them out.')
  if (location !== null && !HINTS.includes(location))
    throw new UserError(`--location is "${location}".`, `It may be ${HINTS.join(', ')}.`)
  if (jurisdiction !== null && !JURISDICTIONS.includes(jurisdiction))
    throw new UserError(`--jurisdiction is "${jurisdiction}".`, `It may be ${JURISDICTIONS.join(' or ')}.`)
  return { hint: location, jurisdiction }
}

/** Databases that are made there; those that are there already are found wherever they are. */
export const databasesAt = ({ hint, jurisdiction }: Location): ResourceKind => ({
  called: 'database',
  async find(platform, name) {
    // `name` narrows the list to those that contain it.
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
 * Refuses a database that is there already and isn't where it was asked for: it can't be taken elsewhere. Where nothing is
 * asked for, any place will do. Throws UserError.
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
    `The database ${name} is there already: it runs in ${region ?? 'an unknown region'}, under ${isIn ? `the jurisdiction ${isIn}` : 'no jurisdiction'}.`,
    `Does it matter where it is? Delete it while it is empty (npx wrangler d1 delete ${name}), and run this again. Else leave ${jurisdiction === null ? '--location' : '--jurisdiction'} out.`,
  )
}

export const databases = databasesAt({ hint: null, jurisdiction: null })

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
 * Makes what wasn't found. Where an answer is lost it may have been made all the same, and a second one of that name
 * would be a second database: so it is looked for again, and only what isn't there is made once more.
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
