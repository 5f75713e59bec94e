/** The double's D1: each database is a real one on node:sqlite, with its history. */
import { DatabaseSync } from 'node:sqlite'
import { limitLikeD1 } from '../d1-limits.ts'
import { ApiRefusal, type ApiRequest, idOf, type Route } from './http.ts'
import { cutAsReported } from './sql-splitter.ts'

export interface Statement {
  sql: string
  params?: (string | number | null)[]
}

/** Carries out a batch completely or not at all. */
export interface Engine {
  batch(statements: Statement[]): Promise<{ results: Record<string, unknown>[]; changes: number }[]>
  /** Set for a database that the Worker writes to as well, so that its history here is incomplete. */
  live?: {
    /** Batches that make an empty database equal to the current state of this one. */
    copy(): Promise<Statement[][]>
    clear(): Promise<void>
  }
}

/** D1's limits: https://developers.cloudflare.com/d1/platform/limits/ */
const STATEMENT_BYTES_MAX = 100_000
const PARAMS_MAX = 100

interface DatabaseSpec {
  name: string
  primary_location_hint?: string | null
  jurisdiction?: string | null
}

interface HistoryEntry {
  at: number
  statements: Statement[]
  restoredTo?: number
  /** The database's whole content at that time. Entries before this one no longer count. */
  copy?: Statement[][]
}

export class DoubleDatabase {
  readonly id: string
  readonly name: string
  readonly locationHint: string | null
  readonly jurisdiction: string | null
  engine: Engine
  replication: 'auto' | 'disabled' = 'disabled'
  /**
   * Writes in order; a bookmark is a length of this list. A restore is an entry too, so that it can be undone. For a
   * live database the list has only the API's writes, and a copy for each request of the current bookmark.
   */
  readonly history: HistoryEntry[] = []

  constructor(id: string, { name, primary_location_hint = null, jurisdiction = null }: DatabaseSpec) {
    this.locationHint = primary_location_hint
    this.jurisdiction = jurisdiction
    this.id = id
    this.name = name
    this.engine = sqliteEngine()
  }

  async query(statements: Statement[]) {
    if (statements.length === 0) throw new ApiRefusal(400, 7400, 'The batch is empty')
    for (const { sql, params = [] } of statements)
      if (Buffer.byteLength(sql) > STATEMENT_BYTES_MAX || params.length > PARAMS_MAX)
        throw new ApiRefusal(400, 7500, 'statement too long or too many parameters: SQLITE_TOOBIG')
    let done: Awaited<ReturnType<Engine['batch']>>
    try {
      const pieces = statements.map((statement) =>
        statement.params ? [statement] : cutAsReported(statement.sql).map((sql) => ({ sql })),
      )
      const answers = await this.engine.batch(pieces.flat())
      // For a text with several statements, the answer has the last one's rows.
      done = pieces.map((cut) => answers.splice(0, cut.length).at(-1) ?? { results: [], changes: 0 })
    } catch (error) {
      throw new ApiRefusal(400, 7500, `${(error as Error).message}: SQLITE_ERROR`)
    }
    if (statements.some(({ sql }) => !/^\s*(SELECT|PRAGMA)\b/i.test(sql)))
      this.history.push({ at: Date.now(), statements })
    return done.map(({ results, changes }) => ({ results, success: true, meta: { changes } }))
  }
}

/** The batches that lead to a bookmark. */
function writtenBefore(history: DoubleDatabase['history'], bookmark: number): Statement[][] {
  if (bookmark === 0) return []
  const { statements, restoredTo, copy } = history[bookmark - 1]!
  if (copy) return copy
  if (restoredTo !== undefined) return writtenBefore(history, restoredTo)
  return [...writtenBefore(history, bookmark - 1), statements]
}

export class DatabaseRoom {
  readonly databases: DoubleDatabase[] = []

  readonly routes: Route[] = [
    ['GET', '/d1/database', (request) => this.#list(request)],
    ['POST', '/d1/database', (request) => this.#make(request.json<DatabaseSpec>())],
    ['GET', '/d1/database/:id', (_, id) => detailed(this.get(id!))],
    ['PUT', '/d1/database/:id', (request, id) => this.#change(request, id!)],
    ['PATCH', '/d1/database/:id', (request, id) => this.#change(request, id!)],
    ['POST', '/d1/database/:id/query', (request, id) => this.#query(request, id!)],
    ['GET', '/d1/database/:id/time_travel/bookmark', ({ query }, id) => this.#bookmark(query, id!)],
    ['POST', '/d1/database/:id/time_travel/restore', ({ query }, id) => this.#restore(query, id!)],
  ]

  get(id: string): DoubleDatabase {
    const found = this.databases.find((database) => database.id === id)
    if (!found) throw new ApiRefusal(404, 7404, `The database ${id} could not be found`)
    return found
  }

  async #bookmark(query: URLSearchParams, id: string) {
    const { history, engine } = this.get(id)
    const timestamp = query.get('timestamp')
    if (!timestamp && engine.live) history.push({ at: Date.now(), statements: [], copy: await engine.live.copy() })
    const at = Date.parse(timestamp ?? '9999-12-31T00:00:00Z')
    return { bookmark: formatBookmark(history.filter((entry) => entry.at <= at).length) }
  }

  async #restore(query: URLSearchParams, id: string) {
    const database = this.get(id)
    const bookmark = Number.parseInt(query.get('bookmark') ?? '', 16)
    if (!(bookmark <= database.history.length)) throw new ApiRefusal(400, 7500, 'Invalid bookmark')
    const engine = database.engine.live ? database.engine : sqliteEngine()
    await engine.live?.clear()
    for (const statements of writtenBefore(database.history, bookmark)) await engine.batch(statements)
    const previous = formatBookmark(database.history.length)
    database.history.push({ at: Date.now(), statements: [], restoredTo: bookmark })
    database.engine = engine
    return { bookmark: formatBookmark(database.history.length), previous_bookmark: previous }
  }

  #list({ query }: ApiRequest) {
    const name = query.get('name') ?? ''
    const size = Number(query.get('per_page') ?? 100)
    const start = (Number(query.get('page') ?? 1) - 1) * size
    return this.databases
      .filter((database) => database.name.includes(name))
      .slice(start, start + size)
      .map(described)
  }

  #make(spec: DatabaseSpec) {
    const { name } = spec
    if (this.databases.some((database) => database.name === name))
      throw new ApiRefusal(400, 7502, `Database with name '${name}' already exists`)
    const made = new DoubleDatabase(uuidOf(name), spec)
    this.databases.push(made)
    return described(made)
  }

  /** The only setting that the API changes. */
  #change(request: ApiRequest, id: string) {
    const { read_replication: wanted } = request.json<{ read_replication?: { mode?: string } }>()
    if (wanted?.mode !== 'auto' && wanted?.mode !== 'disabled')
      throw new ApiRefusal(400, 7400, 'read_replication.mode must be auto or disabled')
    const database = this.get(id)
    database.replication = wanted.mode
    return detailed(database)
  }

  #query(request: ApiRequest, id: string) {
    const body = request.json<Statement | { batch: Statement[] }>()
    return this.get(id).query('batch' in body ? body.batch : [body])
  }
}

const formatBookmark = (length: number): string => length.toString(16).padStart(8, '0')

const uuidOf = (name: string): string =>
  idOf('database', name).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5')

const described = ({ id, name, jurisdiction, locationHint }: DoubleDatabase) => ({
  uuid: id,
  name,
  version: 'production',
  jurisdiction,
  running_in_region: (locationHint ?? 'enam').toUpperCase(),
})

const detailed = (database: DoubleDatabase) => ({
  ...described(database),
  read_replication: { mode: database.replication },
})

function sqliteEngine(): Engine {
  const database = new DatabaseSync(':memory:')
  limitLikeD1(database)
  return {
    async batch(statements) {
      database.exec('BEGIN')
      try {
        const done = statements.map(({ sql, params = [] }) => {
          const results = database.prepare(sql).all(...params) as Record<string, unknown>[]
          return { results, changes: 0 }
        })
        database.exec('COMMIT')
        return done
      } catch (error) {
        database.exec('ROLLBACK')
        throw error
      }
    },
  }
}
