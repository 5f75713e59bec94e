import { type Clock, DAY_MS, inTime, type TimeBudget } from '../core/clock.ts'
import { BanyanError, MIGRATE, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { backoffMs, type Random } from '../core/random.ts'
import { type Answer, answerOf, DatabaseError, isUnapplied, OutcomeUnknownError, RefusedError } from './answers.ts'
import type { HeldMap, MapHolder, MapRequest } from './map-holder.ts'
import type { RoutedStatement } from './routed-database.ts'
import type { ShardEntry, ShardMap } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'
import { isEmpty } from './statement-kind.ts'

/** Rows as objects, as arrays, or as arrays whose column names are wanted too. */
export type Shape = 'objects' | 'arrays' | 'named-arrays'
type Arrays = [string[], ...unknown[][]]

interface Sql {
  sql: string
  values: unknown[]
}

/** One call of a shard, as an observer sees it. */
export interface ShardCall {
  shard: string
  slot: string
  /** What the caller named it, so that a double can fail exactly one. */
  operation: string
  kind: 'read' | 'exact-read' | 'write'
  statements: number
}

export interface ShardObserver {
  before?(call: ShardCall): void | Promise<void>
  after?(call: ShardCall, ms: number, error: unknown): void | Promise<void>
}

/** What every router of a request shares. */
export interface Routing {
  holder: MapHolder
  request: MapRequest
  shards: Pick<ReadonlyMap<string, D1Database>, 'get' | 'has'>
  clock: Clock
  random: Random
  /** The invocation's: no call of a shard begins after its end. */
  time?: TimeBudget
  /** The newest epoch the client knows of. */
  atLeastEpoch: number
  observer: ShardObserver
}

export interface RouteOptions {
  keyspace: Keyspace
  /** `exact`: linearizable, from the primary. `lease`: bounded by the map's lease. */
  read: 'lease' | 'exact'
  /** The batch may be applied twice without harm, so an answer that was lost is asked for again. */
  idempotent: boolean
  operation: string
}

/** With full jitter, about half a second. */
const FENCED_TRIES_BEFORE_ASKING = 6

const GUARD = 'INSERT INTO slot_guard (keyspace, slot) VALUES (?, ?)'
const STATE = 'SELECT state FROM slots WHERE keyspace = ? AND slot = ?'
const CHANGES = 'SELECT changes() AS changes'

/** Names like `1`, as of `SELECT text, 1`: JavaScript puts such keys of an object first. */
const WHOLE_NUMBER = /^\d+$/

/** Sends statements to the shard that owns a slot, and handles what it answers. */
export class Router {
  readonly #routing: Routing
  readonly #slot: string
  readonly #options: RouteOptions
  readonly #session: Session | null

  constructor(routing: Routing, slot: string, options: RouteOptions, session: Session | null = null) {
    this.#routing = routing
    this.#slot = slot
    this.#options = options
    this.#session = session
  }

  withSession(constraintOrBookmark: string): Router {
    return new Router(this.#routing, this.#slot, this.#options, new Session(constraintOrBookmark))
  }

  /** `<shard id>:<D1 bookmark>` of the session's latest answer, or null. */
  bookmark(): string | null {
    return this.#session?.bookmark() ?? null
  }

  hasSameRoute(other: Router): boolean {
    return (
      this.#routing === other.#routing &&
      this.#slot === other.#slot &&
      this.#options.keyspace === other.#options.keyspace
    )
  }

  /** One statement's answer: a `D1Result`, or column names and rows as arrays. */
  async single<T>(statement: RoutedStatement, shape: Shape): Promise<D1Result<T> | [string[], ...T[]]> {
    if (!statement.isRead) {
      const [result] = await this.batch<T>([statement])
      return shape === 'objects' ? result! : (toArrays(result!.results as object[]) as [string[], ...T[]])
    }
    if (shape === 'objects') return (await this.#read<T>([statement]))[0]!
    return (await this.#readArrays(statement, shape)) as [string[], ...T[]]
  }

  async batch<T>(statements: RoutedStatement[]): Promise<D1Result<T>[]> {
    if (statements.length === 0) return []
    return statements.every((statement) => statement.isRead) ? this.#read<T>(statements) : this.#write<T>(statements)
  }

  // ── writes ────────────────────────────────────────────────────────────────────────────────────

  async #write<T>(statements: RoutedStatement[]): Promise<D1Result<T>[]> {
    const { sent, own } = guardedBatch(statements)
    const answers = await this.#route('write', statements.length, (shard) => {
      const database = this.#database(shard)
      return database.batch<T>([
        database.prepare(GUARD).bind(this.#options.keyspace, this.#slot),
        ...sent.map((statement) => bound(database, statement)),
      ])
    })
    return own.map((place) => withOwnChanges(answers, place))
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────

  async #read<T>(statements: RoutedStatement[]): Promise<D1Result<T>[]> {
    const leased = await this.#leased(statements.length, (database) =>
      statements.length === 1
        ? bound(database, statements[0]!)
            .all<T>()
            .then((result) => [result])
        : database.batch<T>(statements.map((statement) => bound(database, statement))),
    )
    return leased ?? this.#exact<T>(statements)
  }

  async #readArrays(statement: RoutedStatement, shape: Shape): Promise<Arrays> {
    const leased = await this.#leased(1, (database) => bound(database, statement).raw({ columnNames: true }))
    if (leased) return leased as Arrays
    // D1's batch answers with objects, in which two columns of one name are one. As a subquery's, SQLite makes them two.
    const wrapped = { sql: `SELECT * FROM (${statement.sql.replace(/;\s*$/, '')}\n)`, values: statement.values }
    const [result] = await this.#exact<Record<string, unknown>>([wrapped])
    const rows = result!.results
    const isOrdered = !Object.keys(rows[0] ?? {}).some((name) => WHOLE_NUMBER.test(name))
    if (isOrdered && (rows.length > 0 || shape === 'arrays')) return toArrays(rows)
    const names = await this.#columnNames(wrapped)
    return [names, ...rows.map((row) => names.map((name) => row[name]))]
  }

  /** A statement's column names in their order: of no rows, and of rows as objects, they can't be told. */
  #columnNames({ sql, values }: Sql): Promise<string[]> {
    return this.#route('read', 1, async (shard) => {
      const statement = bound(this.#database(shard), { sql: `${sql} LIMIT 0`, values })
      const [names] = await statement.raw({ columnNames: true })
      return names
    })
  }

  /**
   * A read the lease vouches for, or null when it must be exact. The lease is checked before, and again when the answer
   * has arrived: a read that was held back may have met a purged shard, so its answer is thrown away.
   */
  async #leased<R>(
    statements: number,
    read: (database: D1Database | D1DatabaseSession) => Promise<R>,
  ): Promise<R | null> {
    if (this.#options.read === 'exact') return null
    const { holder } = this.#routing
    const held = await this.#map()
    if (!holder.vouchesFor(held)) return null
    const answer = await this.#route('read', statements, (shard) => read(this.#database(shard)), held)
    return holder.stillVouchesFor(held) ? answer : null
  }

  /** The state of the slot and the statements in one batch, at the primary. */
  #exact<T>(statements: Sql[]): Promise<D1Result<T>[]> {
    return this.#route('exact-read', statements.length, async (shard) => {
      const database = this.#routing.shards.get(shard.binding)!
      const [state, ...answers] = await database.batch<T>([
        database.prepare(STATE).bind(this.#options.keyspace, this.#slot),
        ...statements.map((statement) => bound(database, statement)),
      ])
      refuseUnlessOwned((state!.results[0] as { state: string } | undefined)?.state)
      return answers
    })
  }

  // ── the answer table ──────────────────────────────────────────────────────────────────────────

  /**
   * Calls the owner, and handles refusals inside the budget. A batch is sent again only when nothing of it was applied,
   * or when it is idempotent: then it may have been, and no later refusal may say that nothing was written.
   */
  async #route<R>(
    kind: ShardCall['kind'],
    statements: number,
    send: (shard: ShardEntry) => Promise<R>,
    held?: HeldMap,
  ): Promise<R> {
    const { clock, random, shards } = this.#routing
    const mayRepeat = kind !== 'write' || this.#options.idempotent
    const deadline = clock.now() + limits.routeBudgetMs
    let { map } = held ?? (await this.#map())
    let maybeApplied: OutcomeUnknownError | null = null
    for (let attempt = 0, failures = 0; ; attempt++) {
      const shard = map.ownerOf(this.#options.keyspace, this.#slot)
      const refusal =
        (shards.has(shard.binding) ? stateRefusal(shard, kind) : shardUnknown(shard)) ?? timeRefusal(this.#routing)
      if (refusal) throw maybeApplied ?? refusal
      const outcome = await observed(
        this.#routing,
        { shard: shard.id, slot: this.#slot, operation: this.#options.operation, kind, statements },
        () => send(shard),
        mayRepeat ? limits.shardCallMs : limits.shardWriteMs,
      )
      if ('value' in outcome) return outcome.value
      const answer =
        outcome.error instanceof SlotRefusal
          ? ({ kind: 'refused', code: outcome.error.code } as const)
          : answerOf(outcome.error)
      const leftMs = deadline - clock.now()
      if (answer.kind === 'transient' || answer.kind === 'overloaded') {
        if (answer.kind === 'transient' && !mayRepeat) throw new OutcomeUnknownError(outcome.error)
        if (answer.kind === 'transient' && kind === 'write') maybeApplied = new OutcomeUnknownError(outcome.error)
        if (++failures > limits.readRetriesMax || leftMs <= 0)
          throw maybeApplied ?? unavailable(shard, kind, outcome.error)
        await clock.sleep(backoffMs(random, failures, limits.readRetryBaseMs, limits.routeBackoffCapMs))
        continue
      }
      if (isUnapplied(answer)) throw maybeApplied ?? typedError(answer, outcome.error, clock)
      if (!isSlotRefusal(answer)) throw typedError(answer, outcome.error, clock)
      const next = await mapAfter(this.#routing, answer.code, { map, attempt, deadline })
      if (!next) throw maybeApplied ?? slotRefused(answer.code)
      map = next
    }
  }

  #map(): Promise<HeldMap> {
    const { holder, request, atLeastEpoch } = this.#routing
    return holder.current(request, atLeastEpoch)
  }

  #database(shard: ShardEntry): D1Database | D1DatabaseSession {
    const database = this.#routing.shards.get(shard.binding)!
    return this.#session?.on(shard, database) ?? database
  }
}

/** The map to try again with, after a slot's refusal; null when the budget is used up. */
export async function mapAfter(
  { clock, holder, request, random, atLeastEpoch }: Routing,
  code: SlotRefusalCode,
  { map, attempt, deadline }: { map: ShardMap; attempt: number; deadline: number },
): Promise<ShardMap | null> {
  const leftMs = () => deadline - clock.now()
  if (leftMs() <= 0) return null
  // Fenced for so long, the slot may be writable at its next owner already, and the source not yet retired.
  if (code === 'SLOT_NOT_OWNED' || attempt >= FENCED_TRIES_BEFORE_ASKING) {
    const newer = await holder.newerThan(map.epoch, request)
    if (newer) return newer
    // A directory that does not answer has taken its time out of the budget.
    if (leftMs() <= 0) return null
  }
  const waitMs = backoffMs(random, attempt, limits.routeBackoffBaseMs, limits.routeBackoffCapMs)
  await clock.sleep(Math.min(leftMs(), Math.max(1, waitMs)))
  return (await holder.current(request, atLeastEpoch)).map
}

/** One call of a shard, told to the observer before and after. It has `ms` to answer. */
export async function observed<R>(
  { clock, observer }: Routing,
  call: ShardCall,
  send: () => Promise<R>,
  ms: number,
): Promise<{ value: R } | { error: unknown }> {
  const startedAt = clock.now()
  const outcome = await attempt(async () => {
    await observer.before?.(call)
    return inTime(clock, ms, send())
  })
  await observer.after?.(call, clock.now() - startedAt, 'error' in outcome ? outcome.error : null)
  return outcome
}

/** A D1 session, opened on the shard that owns the slot at the time; it covers one database only. */
class Session {
  readonly #start: string
  #shard = ''
  #open: D1DatabaseSession | null = null
  /** Where it was opened: what it has seen at least, until its first answer. */
  #openedAt = ''

  constructor(start: string) {
    this.#start = start
  }

  on(shard: ShardEntry, database: D1Database): D1DatabaseSession {
    if (!this.#open) return this.#openOn(shard, database, startFor(this.#start, shard))
    if (this.#shard !== shard.id) return this.#openOn(shard, database, 'first-primary')
    // Slots may have left and come back since it was opened: a replica in between lacks them.
    const seen = this.#open.getBookmark() ?? this.#openedAt
    const start = laterOf(seen, shard)
    return start === seen ? this.#open : this.#openOn(shard, database, start)
  }

  bookmark(): string | null {
    const bookmark = this.#open?.getBookmark()
    return bookmark ? `${this.#shard}:${bookmark}` : null
  }

  #openOn(shard: ShardEntry, database: D1Database, start: string): D1DatabaseSession {
    this.#open = database.withSession(start)
    this.#openedAt = start
    this.#shard = shard.id
    return this.#open
  }
}

/** A bookmark means something to its own shard only; another shard is read at its primary. */
function startFor(constraintOrBookmark: string, shard: ShardEntry): string {
  if (constraintOrBookmark.startsWith('first-')) return laterOf(constraintOrBookmark, shard)
  const prefix = `${shard.id}:`
  if (!constraintOrBookmark.startsWith(prefix)) return 'first-primary'
  return laterOf(constraintOrBookmark.slice(prefix.length), shard)
}

/**
 * The start, or the map's `minBookmark` of the shard where that is later: where slots were moved to the shard, a replica
 * must have seen them come. D1's bookmarks are lexicographically sortable (developers.cloudflare.com/d1/reference/glossary).
 */
function laterOf(start: string, { minBookmark }: ShardEntry): string {
  if (minBookmark === undefined || start === 'first-primary') return start
  return start === 'first-unconstrained' || start < minBookmark ? minBookmark : start
}

export type SlotRefusalCode = 'SLOT_FENCED' | 'SLOT_NOT_OWNED'

class SlotRefusal extends Error {
  readonly code: SlotRefusalCode

  constructor(code: SlotRefusalCode) {
    super(code)
    this.code = code
  }
}

/** A fenced source doesn't answer exact reads: the target may be writable already. */
function refuseUnlessOwned(state: string | undefined): void {
  const refusal = refusalOf(state)
  if (refusal) throw new SlotRefusal(refusal)
}

/** What a slot in this state says to the application, or null when it is served. */
export function refusalOf(state: string | undefined): SlotRefusalCode | null {
  if (state === 'active' || state === 'moving') return null
  return state === 'fenced' || state === 'importing' ? 'SLOT_FENCED' : 'SLOT_NOT_OWNED'
}

export const isSlotRefusal = (answer: Answer): answer is { kind: 'refused'; code: SlotRefusalCode } =>
  answer.kind === 'refused' && (answer.code === 'SLOT_FENCED' || answer.code === 'SLOT_NOT_OWNED')

const slotDetail = {
  SLOT_FENCED: 'The data is being moved to another database. Nothing was written. Try again in a moment.',
  SLOT_NOT_OWNED:
    'The data has moved, and its new place is not known here yet. Nothing was written. Try again in a moment.',
}

export const slotRefused = (code: SlotRefusalCode) => new BanyanError(code, slotDetail[code], { retryAfterSeconds: 1 })

export function typedError(
  answer: Exclude<Answer, { kind: 'transient' }>,
  cause: unknown,
  clock: Pick<Clock, 'now'>,
): BanyanError {
  switch (answer.kind) {
    case 'refused':
      return new RefusedError(answer.code, cause)
    case 'constraint':
      return new DatabaseError('DATABASE_CONSTRAINT', answer.sqliteCode, cause)
    case 'statement':
      return new DatabaseError('DATABASE_ERROR', answer.sqliteCode, cause)
    case 'full':
      return new BanyanError('SHARD_FULL', `The database has no room left. ${UNWRITTEN} Reads still work.`, {
        cause,
      })
    case 'overloaded':
      return new BanyanError('SHARD_UNAVAILABLE', `The database is overloaded (${messageOf(cause)}). ${UNWRITTEN}`, {
        cause,
        retryAfterSeconds: limits.unavailableRetryAfterSeconds,
      })
    case 'daily-limit':
      return new BanyanError(
        'D1_DAILY_LIMIT',
        `The free plan’s daily limit of D1 is reached. ${UNWRITTEN} Wait until midnight UTC, or upgrade to the paid plan.`,
        { cause, retryAfterSeconds: secondsToMidnight(clock.now()) },
      )
    case 'unsent':
      return new BanyanError('BUDGET_SPENT', `${messageOf(cause)} Nothing was written. Send less at a time.`, {
        cause,
        retryAfterSeconds: 1,
      })
    case 'not-migrated':
      return new BanyanError('MIGRATIONS_PENDING', `A database is not migrated. Run: ${MIGRATE}`, {
        cause,
      })
  }
}

export const shardUnknown = (shard: ShardEntry) =>
  new BanyanError('SHARD_UNKNOWN', `This version of the Worker has no binding ${shard.binding}. Deploy one that has.`, {
    retryAfterSeconds: 5,
  })

/** What an operator has taken out by `banyan shards read-only` or a restore. Known here within a lease. */
export function stateRefusal({ id, state }: ShardEntry, kind: ShardCall['kind']): BanyanError | null {
  if (state === 'restoring')
    return new BanyanError('SHARD_RESTORING', `${id} is being restored. Try again later.`, {
      retryAfterSeconds: limits.restoringRetryAfterSeconds,
    })
  if (state === 'read-only' && kind === 'write')
    return new BanyanError('SHARD_READ_ONLY', `${id} takes no writes now. Nothing was written. Try again later.`, {
      retryAfterSeconds: limits.readOnlyRetryAfterSeconds,
    })
  return null
}

/** When the invocation's time is up, nothing more is sent. */
export function timeRefusal({ time }: Routing): BanyanError | null {
  if (!time?.isSpent) return null
  return new BanyanError('SHARD_UNAVAILABLE', `The request has used up its time. ${UNWRITTEN} Try again.`, {
    retryAfterSeconds: limits.unavailableRetryAfterSeconds,
  })
}

const unavailable = (shard: ShardEntry, kind: ShardCall['kind'], cause: unknown) =>
  new BanyanError(
    'SHARD_UNAVAILABLE',
    `${shard.id} does not answer (${messageOf(cause)}).${kind === 'write' ? ` ${UNWRITTEN}` : ''}`,
    { cause, retryAfterSeconds: limits.unavailableRetryAfterSeconds },
  )

const UNWRITTEN = 'Nothing was written.'

/** The free plan's limits start again at midnight UTC. At least a second: it may be over when the client is told. */
const secondsToMidnight = (now: number): number => Math.max(1, Math.ceil((DAY_MS - (now % DAY_MS)) / 1_000))

async function attempt<R>(body: () => Promise<R>): Promise<{ value: R } | { error: unknown }> {
  try {
    return { value: await body() }
  } catch (error) {
    return { error }
  }
}

// ── a guarded batch: guard, statement, changes(), statement, changes(), … ─────────────────────────

/** `own[i]`: where the i-th statement's answer stands, and where its count of changes does (a read has none). */
function guardedBatch(statements: RoutedStatement[]) {
  const sent: Sql[] = []
  const own = statements.map(({ sql, values, isRead }) => {
    // D1 leaves it out of the batch's answers, and all after it would be taken for another's.
    if (isEmpty(sql)) throw new DatabaseError('DATABASE_ERROR', 'SQLITE_MISUSE', 'The statement is empty.')
    const at = sent.push({ sql, values })
    return { at, countAt: isRead ? null : sent.push({ sql: CHANGES, values: [] }) }
  })
  return { sent, own }
}

/**
 * `meta.changes` counts what triggers wrote too (2 for an insert while its slot is moving); `changes()` doesn't, but
 * after a statement that changes nothing it still tells of the one before. The lesser is the statement's own.
 */
function withOwnChanges<T>(
  answers: D1Result<T>[],
  { at, countAt }: { at: number; countAt: number | null },
): D1Result<T> {
  const answer = answers[at]!
  const counted = countAt === null ? 0 : (answers[countAt]!.results[0] as { changes: number }).changes
  const changes = Math.min(answer.meta.changes, counted)
  return { ...answer, meta: { ...answer.meta, changes } }
}

const bound = (database: D1Database | D1DatabaseSession, { sql, values }: Sql) => database.prepare(sql).bind(...values)

function toArrays(rows: object[]): Arrays {
  return [Object.keys(rows[0] ?? {}), ...rows.map((row) => Object.values(row))]
}
