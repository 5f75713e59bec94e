import { createHash } from 'node:crypto'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { migratedDatabase } from '../../scripts/shard-schema.ts'
import { readMigrations } from '../../src/cli/migrations/shard-migrations.ts'
import { hash16 } from '../../src/core/hash16.ts'
import { derivedUserId, slotOf, slotText } from '../../src/core/ids.ts'
import { FIND_TABLES, type MovedTable, readTables } from '../../src/resharding/tables.ts'
import { claimKey } from '../../src/sharding/claims.ts'
import { Directory, type DirectoryStorage } from '../../src/sharding/directory.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'
import { SimulatedShard } from './database.ts'
import { RowLog } from './row-log.ts'

export const SHARD_COUNT = 3

/** The neighbourhood: slots of one shard at first, so that one move concerns every user. */
export const neighbourhood: Record<Keyspace, [string, string]> = { users: ['7a40', '7a4f'], claims: ['20c0', '21bf'] }

/** The limit of a string in a Durable Object's storage. */
const VALUE_BYTES_MAX = 2_097_152

/** A Durable Object's SQLite storage. Several instances of an object may use it, one after another. */
export class SimulatedStorage implements DirectoryStorage {
  readonly #sqlite = new DatabaseSync(':memory:')
  readonly #statements = new Map<string, StatementSync>()

  rows<T>(sql: string, ...values: (string | number | null)[]): T[] {
    if (values.some((value) => typeof value === 'string' && Buffer.byteLength(value) > VALUE_BYTES_MAX))
      throw new Error('string or blob too big: SQLITE_TOOBIG')
    let statement = this.#statements.get(sql)
    if (!statement) {
      statement = this.#sqlite.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement.all(...(values as SQLInputValue[])) as T[]
  }

  transaction<T>(body: () => T): T {
    this.#sqlite.exec('SAVEPOINT change')
    try {
      const result = body()
      this.#sqlite.exec('RELEASE change')
      return result
    } catch (error) {
      this.#sqlite.exec('ROLLBACK TO change; RELEASE change')
      throw error
    }
  }

  mark(): void {
    this.#sqlite.exec('BEGIN')
  }

  reset(): void {
    this.#sqlite.exec('ROLLBACK; BEGIN')
  }
}

export interface TemplateShard {
  id: string
  binding: string
  simulated: SimulatedShard
  /** For reading, outside the simulation. */
  sqlite: DatabaseSync
  /** What the latest call changed. */
  changed: RowLog
  /** Databases for its replicas, equal to it at the start of a seed. */
  replicas: SimulatedShard[]
}

/**
 * Migrated databases after the directory's first boot. Created once per process, and reset to that state for every
 * seed.
 */
export interface Template {
  shards: TemplateShard[]
  storage: SimulatedStorage
  tables: Record<Keyspace, MovedTable[]>
  /** Ids of users, handles, e-mail addresses and keys of sign-ups whose slots are in the neighbourhood. */
  userIds: string[]
  handles: string[]
  emails: string[]
  signUpKeys: string[]
  /** Users of another application whose ids here and whose external ids are in the neighbourhood. */
  externals: External[]
}

/** A user of another application. */
export interface External {
  externalId: string
  /** RFC 3339. */
  createdAt: string
  /** Its id here, and the key of the claim on its external id. */
  id: string
  claim: string
}

/** The other application's name. */
export const SOURCE = 'elsewhere'

export async function makeTemplate(): Promise<Template> {
  const storage = new SimulatedStorage()
  const databases = await bootedDatabases(storage)
  const find = databases[0]!.sqlite.prepare(FIND_TABLES)
  const tables = Object.fromEntries(
    keyspaces.map((keyspace) => [keyspace, readTables(keyspace, find.all(keyspace) as never)]),
  ) as Template['tables']
  const shards = databases.map(
    (database): TemplateShard => ({ ...database, changed: new RowLog(database.sqlite, tables), replicas: [] }),
  )
  for (const shard of shards) shard.simulated.mark()
  storage.mark()
  return {
    shards,
    storage,
    tables,
    userIds: drawUserIds(60),
    handles: numbered(
      40,
      (number) => `h${number}`,
      (value) => isNear('claims', claimKey({ kind: 'handle', value })),
    ),
    emails: numbered(
      60,
      (number) => `e${number}@x.yz`,
      (value) => isNear('claims', claimKey({ kind: 'email', value })),
    ),
    signUpKeys: numbered(
      20,
      (number) => `k${number}`,
      (value) => isNear('users', sha256(`sign-up\0${value}`)),
    ),
    externals: drawExternals(12),
  }
}

/** Migrated databases after the first boot of a directory with this storage. */
async function bootedDatabases(storage: DirectoryStorage) {
  const databases = Array.from({ length: SHARD_COUNT }, (_, index) => {
    const number = String(index).padStart(3, '0')
    const sqlite = migratedDatabase()
    sqlite.exec('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT)')
    const applied = sqlite.prepare('INSERT INTO d1_migrations (name) VALUES (?)')
    for (const { name } of readMigrations()) applied.run(name)
    return { id: `shard-${number}`, binding: `SHARD_${number}`, sqlite, simulated: new SimulatedShard(sqlite) }
  })
  const direct = new Map(
    databases.map(({ binding, simulated }) => [binding, simulated.connection(async (_call, execute) => execute())]),
  )
  const clock = { now: () => 0, sleep: async () => undefined, timer: () => () => undefined }
  await new Directory({ storage, shards: direct, clock, newDeploymentId: () => 'simulated' }).map()
  return databases
}

/** Gives every shard databases for this many replicas. Only seeds with replicas need them. */
export async function addReplicas({ shards }: Template, count: number): Promise<void> {
  for (let made = shards[0]!.replicas.length; made < count; made++)
    for (const [index, { simulated }] of (await bootedDatabases(new SimulatedStorage())).entries()) {
      simulated.mark()
      shards[index]!.replicas.push(simulated)
    }
}

export function resetTemplate({ shards, storage }: Template): void {
  for (const { simulated, replicas } of shards) for (const one of [simulated, ...replicas]) one.reset()
  storage.reset()
}

function isNear(keyspace: Keyspace, key: string): boolean {
  const [first, last] = neighbourhood[keyspace]
  return slotOf(key) >= first && slotOf(key) <= last
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

function numbered(count: number, make: (number: number) => string, fits: (value: string) => boolean): string[] {
  const found: string[] = []
  for (let number = 0; found.length < count; number++) if (fits(make(number))) found.push(make(number))
  return found
}

const externalClaim = (externalId: string) => claimKey({ kind: 'external', value: `${SOURCE}\0${externalId}` })

function drawExternals(count: number): External[] {
  const externalIds = numbered(
    count,
    (number) => `u${number}`,
    (id) => isNear('claims', externalClaim(id)),
  )
  return externalIds.map((externalId) => {
    const origin = `import\0${SOURCE}\0${externalId}`
    let createdAt = Date.UTC(2020, 0, 1)
    while (!isNear('users', derivedUserId(createdAt, origin))) createdAt++
    const id = derivedUserId(createdAt, origin)
    return { externalId, createdAt: new Date(createdAt).toISOString(), id, claim: externalClaim(externalId) }
  })
}

/** Their ULIDs are counted up, because it takes 4,096 to find one in the neighbourhood. */
const drawUserIds = (count: number): string[] =>
  numbered(
    count,
    (number) => {
      const ulid = `01hf7yat00${String(number).padStart(16, '0')}`
      return slotText(hash16(ulid)) + ulid
    },
    (id) => isNear('users', id),
  )
