import type { Clock } from '../../src/core/clock.ts'
import type { Random } from '../../src/core/random.ts'
import { statementKind } from '../../src/sharding/statement-kind.ts'
import { d1Binding, d1Error, isConstraint, type SentAnswer, type SentCall, type SentStatement } from './d1-binding.ts'

type Results = D1Result<unknown>[]

/** One copy of the data. `execute` runs one call as a transaction, and returns as D1 does. */
export interface Copy {
  execute(call: Omit<SentCall, 'start'>): Results | Promise<Results>
}

/** Sees each call that the primary executes, such as to note what it changes. */
type Through = (execute: () => Results | Promise<Results>) => Results | Promise<Results>

export interface ReplicationOptions {
  clock: Pick<Clock, 'now' | 'sleep'>
  random: Random
  /** How far a replica (1, 2, …) is behind now (ms). `wanderingLag` draws it. */
  lagMs: (replica: number) => number
  /** Picks the member that serves a read, like the platform, which takes the nearest. Default: a random replica. */
  choose?: (members: readonly Member[]) => Member
  /** 32 hex digits that identify the database in its bookmarks. Default: random. */
  id?: string
  /**
   * Returns a copy to its first state, from which it replays the log when a promotion takes back what it had replayed.
   * By default, the rows are copied by SQL.
   */
  rewind?: (copy: Copy) => void
}

/** A committed call. */
export interface LogEntry {
  at: number
  statements: SentStatement[]
}

/** The primary or a replica. */
export interface Member {
  readonly name: string
  readonly region: string
  readonly reads: number
  readonly writes: number
  /** Reads that had to wait for a bookmark. */
  readonly waits: number
}

class Node implements Member {
  readonly index: number
  readonly name: string
  readonly region: string
  readonly copy: Copy
  reads = 0
  writes = 0
  waits = 0
  /** How much of the log it has replayed. */
  position = 0
  /** The end of the log that it will ever receive. It is limited once the primary is lost. */
  receives = Infinity
  /** The call that it executes now. */
  turn: Promise<void> | null = null

  constructor(index: number, copy: Copy) {
    this.index = index
    this.name = index === 0 ? 'primary' : `replica ${index}`
    this.region = REGIONS[index % REGIONS.length]!
    this.copy = copy
  }
}

const REGIONS = ['WEUR', 'ENAM', 'APAC', 'WNAM', 'OC', 'EEUR']

/** No call takes longer. A request that ended in the middle of its call must not block all others. */
const TURN_MS_MAX = 5_000
/** A replica that received no more looks this often whether a promotion has changed that. */
const LOOK_MS = 100
const REPLAYED_AT_ONCE = 100

/** A published text of D1, which the router treats as a lost answer. */
const outage = () => d1Error('Cannot resolve D1 DB due to transient issue on remote node.')

/**
 * A database with lagging read replicas, as D1 documents them (developers.cloudflare.com/d1/best-practices/read-replication):
 *
 * - Calls without a session, and all calls that write, go to the primary. So does the first call of a `first-primary`
 *   session.
 * - Any other read goes to a member that `choose` picks. A replica waits until it has seen the session's bookmark.
 * - Bookmarks sort as texts, and name their database. Another database's bookmark is refused.
 *
 * The primary's writes are kept in a log, and a replica replays them when it is read. So writes must be deterministic:
 * SQL that reads a clock or draws random values is refused. Triggers and defaults of columns are not checked for it.
 * Every writer must use this object, because it does not see writes of others.
 */
export class ReplicatedDatabase {
  readonly #options: ReplicationOptions
  readonly #id: string
  readonly #log: LogEntry[] = []
  #primary: Node
  #replicas: Node[]
  /** Raised by each promotion, so that bookmarks rise although positions fall. */
  #timeline = 0
  /** The position at the latest promotion, which all replicas were copies of. */
  #promotedAt = 0
  #isLost = false

  /** The copies must be equal. */
  constructor(primary: Copy, replicas: readonly Copy[], options: ReplicationOptions) {
    this.#options = options
    this.#id = options.id ?? hex(options.random.bytes(16))
    this.#primary = new Node(0, primary)
    this.#replicas = replicas.map((copy, index) => new Node(index + 1, copy))
  }

  get primary(): Member {
    return this.#primary
  }

  get replicas(): readonly Member[] {
    return this.#replicas
  }

  get isPrimaryLost(): boolean {
    return this.#isLost
  }

  /** The committed calls. */
  get log(): readonly LogEntry[] {
    return this.#log
  }

  /** One round trip. `through` wraps the primary's execution. */
  async ask(call: SentCall, through: Through = (execute) => execute()): Promise<SentAnswer> {
    const { start } = call
    if (onlyReads(call)) {
      const bookmark = start === null || isConstraint(start) ? null : this.#readBookmark(start)
      const member = start === null || start === 'first-primary' ? this.#primary : this.#choose()
      return member === this.#primary ? this.#atPrimary(call, through) : this.#atReplica(member, call, bookmark)
    }
    if (start !== null && !isConstraint(start)) this.#readBookmark(start)
    for (const { sql } of call.statements) refuseUnrepeatable(sql)
    return this.#atPrimary(call, through)
  }

  /**
   * Every call that needs the primary fails from now on, and what no replica has received is lost. With `keepsLog`, it
   * is not: the replicas still receive it.
   */
  losePrimary({ keepsLog = false } = {}): void {
    if (this.#isLost) return
    if (!keepsLog) for (const replica of this.#replicas) replica.receives = this.#reaches(replica)
    this.#isLost = true
  }

  /** How many calls of the log a replica has received. */
  receivedBy(replica: Member): number {
    return this.#reaches(this.#nodeOf(replica))
  }

  /**
   * A replica takes the place of the primary, which leaves. What the replica had not received is lost, and returned.
   * The other replicas become copies of the new primary.
   */
  async promote(replica: Member): Promise<LogEntry[]> {
    const promoted = this.#nodeOf(replica)
    this.losePrimary()
    await inTurn(this.#options.clock, promoted, () => this.#replay(promoted, promoted.receives))
    const others = this.#replicas.filter((one) => one !== promoted)
    const lost = this.#log.splice(promoted.position)
    for (const other of others) await inTurn(this.#options.clock, other, () => this.#follow(other, promoted))
    this.#primary = promoted
    this.#replicas = others
    this.#timeline++
    this.#promotedAt = promoted.position
    this.#isLost = false
    return lost
  }

  /** Replays what the replicas have not received yet, so that all copies are equal. */
  async catchUp(): Promise<void> {
    for (const replica of this.#replicas)
      await inTurn(this.#options.clock, replica, () => this.#replay(replica, this.#log.length))
  }

  #nodeOf(replica: Member): Node {
    const node = this.#replicas.find((one) => one === replica)
    if (!node) throw new Error(`${replica.name} is not a replica of this database`)
    return node
  }

  // ── the members ───────────────────────────────────────────────────────────────────────────────

  #choose(): Node {
    const living = this.#isLost ? this.#replicas : [this.#primary, ...this.#replicas]
    if (living.length === 0) return this.#primary
    const { choose, random } = this.#options
    if (choose) return choose(living) as Node
    if (this.#replicas.length === 0) return this.#primary
    return this.#replicas[Math.floor(random.fraction() * this.#replicas.length)]!
  }

  async #atPrimary({ statements, shape }: SentCall, through: Through): Promise<SentAnswer> {
    const primary = this.#primary
    return inTurn(this.#options.clock, primary, async () => {
      if (this.#isLost || primary !== this.#primary) throw outage()
      const results = await through(() => primary.copy.execute({ statements, shape }))
      // Lost in the meantime, so nobody will ever see what it did.
      if (this.#isLost || primary !== this.#primary) throw outage()
      const written = statements.filter((statement, index) => wrote(statement, results[index]!))
      if (written.length > 0) {
        primary.writes++
        this.#log.push({ at: this.#options.clock.now(), statements: statements.filter(({ sql }) => !isRead(sql)) })
      } else primary.reads++
      primary.position = this.#log.length
      return { results: servedBy(primary, true, results), bookmark: this.#bookmarkAt(primary.position) }
    })
  }

  async #atReplica(replica: Node, { statements, shape }: SentCall, bookmark: Place | null): Promise<SentAnswer> {
    const { clock } = this.#options
    replica.reads++
    const seen = bookmark ? await this.#seen(replica, bookmark) : 0
    return inTurn(clock, replica, async () => {
      const isPrimary = replica === this.#primary
      // It was promoted and has left since the read was sent to it.
      if (!isPrimary && !this.#replicas.includes(replica)) throw outage()
      await this.#replay(replica, Math.max(seen, this.#reaches(replica)))
      const results = await replica.copy.execute({ statements, shape })
      return { results: servedBy(replica, isPrimary, results), bookmark: this.#bookmarkAt(replica.position) }
    })
  }

  /** Resolves once the replica has received the log up to the bookmark, to how much of it that is. */
  async #seen(replica: Node, bookmark: Place): Promise<number> {
    for (let looks = 0; ; looks++) {
      // After a promotion, an earlier bookmark is behind every member.
      if (bookmark.timeline < this.#timeline) return 0
      if (this.#reaches(replica) >= bookmark.position) return bookmark.position
      if (looks === 0) replica.waits++
      await this.#options.clock.sleep(this.#dueInMs(replica, bookmark))
    }
  }

  #dueInMs(replica: Node, { position }: Place): number {
    const entry = this.#log[position - 1]
    if (!entry || replica.receives < position) return LOOK_MS
    return Math.max(1, entry.at + this.#options.lagMs(replica.index) - this.#options.clock.now())
  }

  /** How much of the log has arrived at a replica. */
  #reaches(replica: Node): number {
    if (replica === this.#primary) return this.#log.length
    const until = this.#options.clock.now() - this.#options.lagMs(replica.index)
    let position = Math.max(replica.position, this.#promotedAt)
    const end = Math.min(this.#log.length, replica.receives)
    while (position < end && this.#log[position]!.at <= until) position++
    return position
  }

  async #replay(replica: Node, until: number): Promise<void> {
    while (replica.position < Math.min(until, this.#log.length)) {
      const statements: SentStatement[] = []
      let position = replica.position
      while (position < Math.min(until, this.#log.length) && statements.length < REPLAYED_AT_ONCE)
        statements.push(...this.#log[position++]!.statements)
      const executed = replica.copy.execute({ statements, shape: 'objects' })
      if (executed instanceof Promise) await executed
      replica.position = position
    }
  }

  /** The other replica keeps a beginning of the promoted one's log. If it has replayed more, it is rebuilt. */
  async #follow(other: Node, promoted: Node): Promise<void> {
    if (other.position > promoted.position) {
      const { rewind } = this.#options
      if (rewind) {
        rewind(other.copy)
        other.position = 0
      } else {
        await copyRows(promoted.copy, other.copy)
        other.position = promoted.position
      }
    }
    other.receives = Infinity
  }

  // ── bookmarks ─────────────────────────────────────────────────────────────────────────────────

  #bookmarkAt(position: number): string {
    return `${hex32(this.#timeline)}-${hex32(position)}-00000000-${this.#id}`
  }

  #readBookmark(bookmark: string): Place {
    const [, timeline, position, id] = /^([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{8}-([0-9a-f]{32})$/.exec(bookmark) ?? []
    if (id !== this.#id) throw d1Error(`The bookmark ${bookmark} is not one of this database.`)
    return { timeline: Number.parseInt(timeline!, 16), position: Number.parseInt(position!, 16) }
  }
}

interface Place {
  timeline: number
  position: number
}

const hex32 = (number: number): string => number.toString(16).padStart(8, '0')
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** A lag that is drawn per replica, mostly short and at most `msMax`, and again after it has lasted some time. */
export function wanderingLag(
  { clock, random }: Pick<ReplicationOptions, 'clock' | 'random'>,
  msMax: number,
): (replica: number) => number {
  const drawn: { ms: number; until: number }[] = []
  return (replica) => {
    const now = clock.now()
    const known = drawn[replica]
    if (known && now < known.until) return known.ms
    const ms = msMax * random.fraction() ** 2
    drawn[replica] = { ms, until: now + msMax * random.fraction() }
    return ms
  }
}

/** One call after another. Without a call before, `body` starts at once. */
async function inTurn<T>(clock: ReplicationOptions['clock'], node: Node, body: () => Promise<T>): Promise<T> {
  const before = node.turn
  const done = Promise.withResolvers<void>()
  node.turn = done.promise
  if (before) await Promise.race([before, clock.sleep(TURN_MS_MAX)])
  try {
    return await body()
  } finally {
    if (node.turn === done.promise) node.turn = null
    done.resolve()
  }
}

const servedBy = ({ name, region }: Node, isPrimary: boolean, results: Results): Results =>
  results.map((result) => ({
    ...result,
    meta: { ...result.meta, served_by: name, served_by_region: region, served_by_primary: isPrimary },
  }))

// ── statements ──────────────────────────────────────────────────────────────────────────────────

const kindsMax = 2_000
const kinds = new Map<string, boolean>()

/** The router does not keep the kinds of long texts. A mover sends them in every round. */
function isRead(sql: string): boolean {
  const known = kinds.get(sql)
  if (known !== undefined) return known
  if (kinds.size >= kindsMax) kinds.clear()
  const { isRead } = statementKind(sql)
  kinds.set(sql, isRead)
  return isRead
}

/** True if a replica may serve the call. */
export const onlyReads = ({ statements }: Pick<SentCall, 'statements'>): boolean =>
  statements.every(({ sql }) => isRead(sql))

/** Rows as arrays come without figures. Changes of the schema count no rows. */
function wrote({ sql }: SentStatement, { meta }: D1Result<unknown>): boolean {
  if (isRead(sql)) return false
  return meta?.changes === undefined || meta.changes > 0 || meta.changed_db || CHANGES_SCHEMA.test(sql)
}

const CHANGES_SCHEMA = /^\s*(?:create|alter|drop)\b/i
const UNREPEATABLE =
  /\b(?:random|randomblob|last_insert_rowid|total_changes)\s*\(|\bcurrent_(?:timestamp|date|time)\b|\b(?:unixepoch|julianday|datetime|date|time)\s*\(\s*\)|'now'/i
const repeatable = new Set<string>()

function refuseUnrepeatable(sql: string): void {
  if (repeatable.has(sql)) return
  if (!isRead(sql) && !CHANGES_SCHEMA.test(sql) && UNREPEATABLE.test(sql))
    throw new Error(`A replica that replays this statement would differ. Bind the value instead: ${sql}`)
  if (repeatable.size >= 1_000) repeatable.clear()
  repeatable.add(sql)
}

/**
 * Makes one copy's rows equal to the other's, in one transaction and without its triggers. Values travel as D1 returns
 * them, so integers over 2^53 are rounded.
 */
async function copyRows(from: Copy, to: Copy): Promise<void> {
  const schema =
    "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY type, name"
  const [wanted, found] = [await rowsOf(from, schema), await rowsOf(to, schema)]
  if (JSON.stringify(wanted) !== JSON.stringify(found))
    throw new Error('The promotion takes back a change of the schema, which this double can’t.')
  const sql: SentStatement[] = []
  const add = (text: string, values: unknown[] = []) => sql.push({ sql: text, values })
  const triggers = wanted.filter(([type]) => type === 'trigger')
  for (const [, name] of triggers) add(`DROP TRIGGER ${quoted(name)}`)
  const tables = wanted.filter(([type]) => type === 'table').map(([, name]) => name)
  for (const table of tables) {
    add(`DELETE FROM ${quoted(table)}`)
    for (const row of await rowsOf(from, `SELECT * FROM ${quoted(table)}`))
      add(`INSERT INTO ${quoted(table)} VALUES (${row.map(() => '?').join(', ')})`, row)
  }
  // Inserts have raised these, so they come last.
  if (tables.length > 0 && (await rowsOf(from, COUNTED)).length > 0) {
    add('DELETE FROM sqlite_sequence')
    for (const row of await rowsOf(from, 'SELECT name, seq FROM sqlite_sequence'))
      add('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)', row)
  }
  for (const [, , , text] of triggers) add(String(text))
  await to.execute({ statements: sql, shape: 'objects' })
}

const COUNTED = "SELECT name FROM sqlite_master WHERE name = 'sqlite_sequence'"
const quoted = (name: unknown): string => `"${String(name).replaceAll('"', '""')}"`

async function rowsOf(copy: Copy, sql: string): Promise<unknown[][]> {
  const [result] = await copy.execute({ statements: [{ sql, values: [] }], shape: 'arrays' })
  return (result!.results as unknown[][]).slice(1)
}

// ── over D1 ─────────────────────────────────────────────────────────────────────────────────────

/** A `D1Database` as a copy of a replicated one. */
const d1Copy = (database: D1Database): Copy => ({
  async execute({ statements, shape }) {
    const prepared = statements.map(({ sql, values }) => {
      const statement = database.prepare(sql)
      return values.length > 0 ? statement.bind(...values) : statement
    })
    const [only] = prepared
    if (shape === 'objects') return database.batch(prepared)
    return [{ success: true, results: await only!.raw({ columnNames: true }) } as unknown as D1Result<unknown>]
  },
})

/** A `D1Database` whose reads in sessions are served by lagging replicas. All databases must be equal. */
export type LaggingDatabase = D1Database & { readonly replication: ReplicatedDatabase }

export function replicated(
  primary: D1Database,
  replicas: readonly D1Database[],
  options: ReplicationOptions,
): LaggingDatabase {
  const replication = new ReplicatedDatabase(d1Copy(primary), replicas.map(d1Copy), options)
  return Object.assign(
    d1Binding((call) => replication.ask(call)),
    { replication },
  )
}
