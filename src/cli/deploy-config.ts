import { UserError } from './errors.ts'
import type { ShardBinding } from './wrangler-config.ts'

/** One `[table]` or `[[array of tables]]` of a wrangler.toml: the values that one line holds, as they are written. */
interface Table {
  name: string
  values: Map<string, string | string[]>
}

/** What deploying needs to know of a wrangler.toml. */
export interface WranglerConfig {
  name: string
  accountId: string | null
  /** `PUBLIC_ORIGIN` of `[vars]`, else null: then the address is the one on workers.dev. */
  publicOrigin: string | null
  /** For how long a router may use the map it holds: `LEASE_MS` of `[vars]`. */
  leaseMs: number
  shards: ShardBinding[]
  kvNamespaces: { binding: string; id: string }[]
  buckets: string[]
  /** Every queue that is sent to, consumed, or takes another's dead letters; without doubles, in order. */
  queues: string[]
  consumedQueues: string[]
  crons: string[]
  /** Whether it is to answer on workers.dev: as wrangler decides, unless it has routes. */
  workersDev: boolean
}

/** The Worker's own default. */
const LEASE_MS = 30_000
const LEASE_MS_MIN = 100
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const PLACEHOLDER_DATABASE = /^00000000-0000-4000-8000-0{9}\d{3}$/
const PLACEHOLDER_NAMESPACE = /^0{28}\d{4}$/

/** True for the ids that are shipped: they work locally and name nothing on the platform. */
export const isPlaceholder = (id: string): boolean => PLACEHOLDER_DATABASE.test(id) || PLACEHOLDER_NAMESPACE.test(id)

/** Reads a wrangler.toml. Throws UserError with the line that can't be read, or what is missing. */
export function readConfig(text: string): WranglerConfig {
  const tables = readTables(text)
  const values = (name: string, key: string) =>
    tables.filter((table) => table.name === name).flatMap((table) => table.values.get(key) ?? [])
  const first = (name: string, key: string): string | null => values(name, key)[0] ?? null
  const name = first('', 'name')
  if (!name) throw new UserError('The configuration has no name.', 'Write name = "…" at its top.')
  const hasRoutes = tables.some(
    (table) => table.name === 'routes' || table.values.has('routes') || table.values.has('route'),
  )
  const consumedQueues = values('queues.consumers', 'queue')
  return {
    name,
    accountId: first('', 'account_id'),
    publicOrigin: first('vars', 'PUBLIC_ORIGIN') || null,
    leaseMs: leaseIn(first('vars', 'LEASE_MS')),
    shards: shardsIn(tables),
    kvNamespaces: tables
      .filter((table) => table.name === 'kv_namespaces')
      .map((table) => ({ binding: required(table, 'binding'), id: required(table, 'id') })),
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

/** As the Worker reads it (workers/settings.ts). Throws UserError. */
function leaseIn(written: string | null): number {
  const leaseMs = Number(written || LEASE_MS)
  if (Number.isSafeInteger(leaseMs) && leaseMs >= LEASE_MS_MIN) return leaseMs
  throw new UserError(
    `LEASE_MS is "${written}"; it must be a number of milliseconds, at least ${LEASE_MS_MIN}.`,
    `Write it in [vars] like LEASE_MS = "${LEASE_MS}".`,
  )
}

/**
 * Writes a database's id beside its binding; all else stays as it is. The id that was there stays as
 * `preview_database_id`, by which local development goes on finding its data.
 */
export const withDatabaseId = (text: string, binding: string, id: string): string => {
  if (!UUID.test(id)) throw new Error(`not a database's id: ${id}`)
  return withId(text, { table: 'd1_databases', binding, key: 'database_id', localKey: 'preview_database_id' }, id)
}

/** The same for a KV namespace: `preview_id` is the local one. */
export const withKvId = (text: string, binding: string, id: string): string =>
  withId(text, { table: 'kv_namespaces', binding, key: 'id', localKey: 'preview_id' }, id)

/** Without comments, blank lines and local ids: what of it decides how the Worker runs. */
export const essence = (text: string): string =>
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

function withId(text: string, { table, binding, key, localKey }: IdPlace, id: string): string {
  const lines = text.split('\n')
  const block = blocks(lines).find(
    ({ name, start, end }) =>
      name === table && lines.slice(start, end).some((line) => isLine(line, 'binding', binding)),
  )
  const at = block
    ? lines.findIndex((line, index) => index > block.start && index < block.end && keyOf(line) === key)
    : -1
  if (!block || at < 0)
    throw new UserError(
      `The configuration has no ${key} for ${binding}.`,
      `Write it as [[${table}]] with a line each for binding and ${key}.`,
    )
  const old = writtenValue(lines[at]!)
  if (old === id) return text
  const hasLocal = lines.slice(block.start, block.end).some((line) => keyOf(line) === localKey)
  const local = isPlaceholder(String(old)) && !hasLocal ? [`${localKey} = "${old}" # local data goes by this one`] : []
  return lines.toSpliced(at, 1, lines[at]!.replace(`"${old}"`, `"${id}"`), ...local).join('\n')
}

/** Where each table starts, and the line after its last value: comments and blank lines after it belong to what follows. */
function blocks(lines: string[]): { name: string; start: number; end: number }[] {
  const heads = lines.flatMap((line, index) => (headOf(line) === null ? [] : [index]))
  return heads.map((start, index) => {
    let end = heads[index + 1] ?? lines.length
    while (end > start + 1 && /^\s*(?:#.*)?$/.test(lines[end - 1]!)) end--
    return { name: headOf(lines[start]!)!, start, end }
  })
}

/** Reads the part of TOML that wrangler.toml is written in: a value a line, and lists that may take several. */
function readTables(text: string): Table[] {
  const tables: Table[] = [{ name: '', values: new Map() }]
  let open: { key: string; text: string } | null = null
  for (const [index, line] of text.split('\n').entries()) {
    const code = withoutComment(line).trim()
    if (open) {
      open.text += code
      if (!code.endsWith(']')) continue
      tables.at(-1)!.values.set(open.key, stringsIn(open.text))
      open = null
      continue
    }
    if (code === '') continue
    const head = headOf(code)
    const key = keyOf(code)
    if (head !== null) tables.push({ name: head, values: new Map() })
    else if (key === null)
      throw new UserError(`Line ${index + 1} can't be read: ${code}`, 'Write it as key = value, on a line of its own.')
    else if (/=\s*\[[^\]]*$/.test(code)) open = { key, text: code }
    else tables.at(-1)!.values.set(key, writtenValue(code))
  }
  return tables
}

/** `a = "b" # c` → `a = "b" `: a # within quotes is no comment. */
const withoutComment = (line: string): string => /^(?:[^"'#]|"(?:[^"\\]|\\.)*"|'[^']*')*/.exec(line)![0]

const headOf = (line: string): string | null => /^\s*\[{1,2}\s*([\w.-]+)\s*\]{1,2}\s*(?:#.*)?$/.exec(line)?.[1] ?? null

const keyOf = (line: string): string | null => /^\s*"?([\w.-]+)"?\s*=/.exec(line)?.[1] ?? null

function writtenValue(line: string): string | string[] {
  const value = withoutComment(line)
    .replace(/^[^=]*=/, '')
    .trim()
  if (value.startsWith('[')) return stringsIn(value)
  return (
    /^"(.*)"$|^'(.*)'$/
      .exec(value)
      ?.slice(1)
      .find((found) => found !== undefined) ?? value
  )
}

const stringsIn = (list: string): string[] =>
  [...list.matchAll(/"([^"]*)"|'([^']*)'/g)].map((found) => found[1] ?? found[2]!)

const isLine = (line: string, key: string, value: string): boolean =>
  keyOf(line) === key && writtenValue(line) === value

function required(table: Table, key: string): string {
  const value = table.values.get(key)
  if (typeof value !== 'string')
    throw new UserError(`A [[${table.name}]] has no ${key}.`, 'Every binding needs it: compare with the shipped ones.')
  return value
}

/** In the order of their bindings. Throws UserError where one lacks its name or id. */
function shardsIn(tables: Table[]): ShardBinding[] {
  return tables
    .filter((table) => table.name === 'd1_databases')
    .map((table) => ({
      binding: required(table, 'binding'),
      databaseName: required(table, 'database_name'),
      databaseId: required(table, 'database_id'),
    }))
    .filter(({ binding }) => /^SHARD_\d{3}$/.test(binding))
    .sort((a, b) => (a.binding < b.binding ? -1 : 1))
}
