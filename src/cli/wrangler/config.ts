import { present } from '../../core/present.ts'
import { UserError } from '../shell/errors.ts'
import { blocksOf, required, type ShardBinding, shardsIn } from './shard-bindings.ts'
import { checkedEdit, keyOf, linesOf, readTables, type Table, withLinesBehind, withValue } from './tables.ts'

/** The parts of a wrangler.toml that a deployment uses. */
export interface WranglerConfig {
  name: string
  accountId: string | null
  /** `PUBLIC_ORIGIN` of `[vars]`. Null means the address on workers.dev. */
  publicOrigin: string | null
  /** How long a router may use its copy of the map: `LEASE_MS` of `[vars]`. */
  leaseMs: number
  /** True if `REPLICAS` of `[vars]` is on. */
  replicas: boolean
  shards: ShardBinding[]
  kvNamespaces: { binding: string; id: string }[]
  buckets: string[]
  /** Every queue that is produced to, consumed, or a dead-letter queue. Without duplicates, in order. */
  queues: string[]
  consumedQueues: string[]
  crons: string[]
  /** True if the Worker answers on workers.dev. Wrangler's default: only without routes. */
  workersDev: boolean
}

/** The Worker's own default. */
const LEASE_MS = 30_000
const LEASE_MS_MIN = 100
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const PLACEHOLDER_DATABASE = /^00000000-0000-4000-8000-0{9}\d{3}$/
const PLACEHOLDER_NAMESPACE = /^0{28}\d{4}$/

/** True for the shipped ids, which work locally and exist nowhere on the platform. */
export const isPlaceholder = (id: string): boolean => PLACEHOLDER_DATABASE.test(id) || PLACEHOLDER_NAMESPACE.test(id)

/** Reads a wrangler.toml. Throws UserError with the unreadable line or the missing key. */
export function readConfig(text: string): WranglerConfig {
  const tables = readTables(text)
  const values = (name: string, key: string) =>
    tables.filter((table) => table.name === name).flatMap((table) => table.values.get(key) ?? [])
  const first = (name: string, key: string): string | null => values(name, key)[0] ?? null
  const name = first('', 'name')
  if (!name) throw new UserError('The configuration has no name.', 'Write name = "…" at the top of the file.')
  const hasRoutes = tables.some(
    (table) => table.name === 'routes' || table.values.has('routes') || table.values.has('route'),
  )
  const consumedQueues = values('queues.consumers', 'queue')
  return {
    name,
    accountId: first('', 'account_id'),
    publicOrigin: first('vars', 'PUBLIC_ORIGIN') || null,
    leaseMs: leaseIn(first('vars', 'LEASE_MS')),
    replicas: first('vars', 'REPLICAS') === 'on',
    shards: shardsIn(tables),
    kvNamespaces: blocksOf(tables, 'kv_namespaces').map((table) => ({
      binding: required(table, 'binding'),
      id: required(table, 'id'),
    })),
    buckets: values('r2_buckets', 'bucket_name'),
    queues: [
      ...new Set([
        ...values('queues.producers', 'queue'),
        ...consumedQueues,
        ...values('queues.consumers', 'dead_letter_queue'),
      ]),
    ],
    consumedQueues,
    crons: values('triggers', 'crons'),
    workersDev: (first('', 'workers_dev') ?? String(!hasRoutes)) === 'true',
  }
}

/** Reads LEASE_MS as the Worker does (workers/settings.ts). Throws UserError. */
function leaseIn(written: string | null): number {
  const leaseMs = Number(written || LEASE_MS)
  if (Number.isSafeInteger(leaseMs) && leaseMs >= LEASE_MS_MIN) return leaseMs
  throw new UserError(
    `LEASE_MS is "${written}", but must be a number of milliseconds of at least ${LEASE_MS_MIN}.`,
    `Write it in [vars], for example LEASE_MS = "${LEASE_MS}".`,
  )
}

/**
 * Writes a database's id into its block, and leaves all other text unchanged. A placeholder id is kept as
 * `preview_database_id`, so that local development still finds its data.
 */
export const withDatabaseId = (text: string, binding: string, id: string): string => {
  if (!UUID.test(id)) throw new Error(`not a database's id: ${id}`)
  return withId(text, { table: 'd1_databases', binding, key: 'database_id', localKey: 'preview_database_id' }, id)
}

/** Like `withDatabaseId`, for a KV namespace and its `preview_id`. */
export const withKvId = (text: string, binding: string, id: string): string =>
  withId(text, { table: 'kv_namespaces', binding, key: 'id', localKey: 'preview_id' }, id)

/** The text without comments, blank lines and local ids, which do not affect how the Worker runs. */
export const significantText = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#') && !/^preview_(?:database_)?id\b/.test(line))
    .join('\n')

interface IdPlace {
  table: string
  binding: string
  key: string
  localKey: string
}

function withId(text: string, { table: name, binding, key, localKey }: IdPlace, id: string): string {
  const tables = readTables(text)
  const block = blocksOf(tables, name).find(({ values }) => values.get('binding') === binding)
  const old = block?.values.get(key)
  if (!block || typeof old !== 'string')
    throw new UserError(
      `The configuration has no ${key} for ${binding}.`,
      `Write a block [[${name}]] with one line for binding and one for ${key}.`,
    )
  if (old === id) return text
  const lines = linesOf(text)
  const isWanted = ([index, line]: [number, string]) => index > block.start && index < block.end && keyOf(line) === key
  const [at, line] = present(lines.entries().find(isWanted), `the line of ${key}`)
  lines[at] = withValue(line, id)
  const isLocal = isPlaceholder(old) && !block.values.has(localKey)
  const local = isLocal ? [`${localKey} = "${old}" # the id of the local data`] : []
  const values = new Map([...(isLocal ? [[localKey, old] as const] : []), ...block.values, [key, id]])
  const intended: Table[] = tables.with(tables.indexOf(block), { ...block, values })
  return checkedEdit(withLinesBehind(lines.join(''), at + 1, local), intended)
}
