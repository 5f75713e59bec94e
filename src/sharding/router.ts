import { type Clock, DAY_MS, inTime, type TimeBudget } from '../core/clock.ts'
import { BanyanError, hasCode, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { backoffMs, type Random } from '../core/random.ts'
import {
  type Answer,
  answerOf,
  DatabaseError,
  isUnapplied,
  misuse,
  notMigrated,
  OutcomeUnknownError,
  refusedError,
} from './answers.ts'
import type { HeldMap, MapHolder, MapRequest } from './map-holder.ts'
import type { RoutedStatement } from './routed-database.ts'
import { type ArraysForm, arraysForm, type Sql } from './row-arrays.ts'
import type { ShardEntry, ShardMap } from './shard-map.ts'
import { ShardSession } from './shard-session.ts'
import type { Keyspace } from './sharded-table.ts'
import { statementKind } from './statement-kind.ts'

/** Rows as objects, as arrays, or as arrays whose column names are wanted too. */
export type Shape = 'objects' | 'arrays' | 'named-arrays'
type Arrays = [string[], ...unknown[][]]
type Row = Record<string, unknown>
type Connection = D1Database | D1DatabaseSession

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

/** How many rows the capture has ever written in this shard: AUTOINCREMENT counts them, also those that are pruned. */
const CAPTURED = "SELECT seq FROM sqlite_sequence WHERE name = 'slot_changes'"
const GUARD = `INSERT INTO slot_guard (keyspace, slot) VALUES (?, ?) RETURNING (${CAPTURED}) AS seq`
const STATE = 'SELECT state FROM slots WHERE keyspace = ? AND slot = ?'
/** Ends a batch that must leave nothing. */
const ABORT = "SELECT json('')"
const ABORTED = 'malformed JSON'

/** Names like `1`, as of `SELECT text, 1`: JavaScript puts such keys of an object first. */
const WHOLE_NUMBER = /^\d+$/

/** Sends statements to the shard that owns a slot, and handles what it answers. */
export class Router {
  readonly #routing: Routing
  readonly #slot: string
  readonly #options: RouteOptions
  readonly #session: ShardSession | null

  constructor(routing: Routing, slot: string, options: RouteOptions, session: ShardSession | null = null) {
    this.#routing = routing
    this.#slot = slot
    this.#options = options
    this.#session = session
  }

  withSession(constraintOrBookmark: string): Router {
    return new Router(this.#routing, this.#slot, this.#options, new ShardSession(constraintOrBookmark))
  }

  /** `<shard id>:<D1 bookmark>` of the session's latest answer, or null. */
  bookmark(): string | null {
    return this.#session?.bookmark ?? null
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
    if (shape === 'objects') return (await this.batch<T>([statement]))[0]!
    refuseUnsendable([statement])
    const arrays = statement.isRead ? this.#readArrays(statement, shape) : this.#writeArrays(statement, shape)
    return (await arrays) as [string[], ...T[]]
  }

  async batch<T>(statements: RoutedStatement[]): Promise<D1Result<T>[]> {
    refuseUnsendable(statements)
    return statements.every((statement) => statement.isRead) ? this.#read<T>(statements) : this.#write<T>(statements)
  }

  // ── writes ────────────────────────────────────────────────────────────────────────────────────

  async #write<T>(statements: (Sql & { isRead: boolean })[]): Promise<D1Result<T>[]> {
    const { sent, own } = guardedBatch(statements)
    const answers = await this.#route('write', statements.length, (shard) =>
      this.#ask(shard, (database) => database.batch<T>([this.#guard(database), ...boundAll(database, sent)])),
    )
    return withOwnChanges(answers, own)
  }

  #guard(database: Connection): D1PreparedStatement {
    return database.prepare(GUARD).bind(this.#options.keyspace, this.#slot)
  }

  async #writeArrays(statement: Sql, shape: Shape): Promise<Arrays> {
    const form = arraysForm(statement)
    const send = async () => (await this.#write<Row>([{ ...form, isRead: false }]))[0]!.results
    const rows = await this.#inOwnWords(form, send, () => this.#aborted(statement))
    // Its rows are written: a failure from here on is a lost answer.
    const arrays = await attempt(() => this.#arraysOf(form, rows, shape))
    if ('error' in arrays) throw new OutcomeUnknownError(arrays.error)
    return arrays.value
  }

  /** Sends a write so that nothing of it stays. Throws D1's error for it, if it has one. */
  async #aborted(statement: Sql): Promise<void> {
    const outcome = await attempt(() =>
      this.#route('exact-read', 1, (shard) =>
        this.#ask(shard, (database) =>
          database.batch([this.#guard(database), bound(database, statement), database.prepare(ABORT)]),
        ),
      ),
    )
    if ('error' in outcome && !messageOf(outcome.error).includes(ABORTED)) throw outcome.error
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────

  async #read<T>(statements: Sql[]): Promise<D1Result<T>[]> {
    const leased = await this.#leased(statements.length, (database) =>
      statements.length === 1
        ? bound(database, statements[0]!)
            .all<T>()
            .then((result) => [result])
        : database.batch<T>(boundAll(database, statements)),
    )
    return leased ?? this.#exact<T>(statements)
  }

  async #readArrays(statement: Sql, shape: Shape): Promise<Arrays> {
    const leased = await this.#leased(1, (database) => bound(database, statement).raw({ columnNames: true }))
    if (leased) return leased as Arrays
    const form = arraysForm(statement)
    const send = async () => (await this.#exact<Row>([form]))[0]!.results
    return this.#arraysOf(form, await this.#inOwnWords(form, send, () => this.#exact([statement])), shape)
  }

  // ── rows as arrays, of a batch's objects ──────────────────────────────────────────────────────

  async #arraysOf(form: ArraysForm, rows: Row[], shape: Shape): Promise<Arrays> {
    const keys = Object.keys(rows[0] ?? {})
    const isOrdered = !form.repeatsKeys && !keys.some((key) => WHOLE_NUMBER.test(key))
    const arrays =
      rows.length === 0 || isOrdered ? rows.map((row) => Object.values(row)) : await this.#inOrder(form, rows)
    if (shape === 'arrays') return [[], ...arrays]
    const names = form.isNamed && isOrdered && rows.length > 0 ? keys : await this.#columnNames(form.names)
    return [names, ...arrays]
  }

  async #inOrder(form: ArraysForm, rows: Row[]): Promise<unknown[][]> {
    const keys = await this.#columnNames(form.keys)
    return rows.map((row) => keys.map((key) => row[key]))
  }

  /** Column names in their order: of no rows, and of rows as objects, they can't be told. */
  async #columnNames(asked: Sql | null): Promise<string[]> {
    if (asked === null) return []
    return this.#route('read', 1, async (shard) => {
      const [names] = await bound(this.#primary(shard), asked).raw({ columnNames: true })
      return names
    })
  }

  /** The error of a form that was sent in the statement's place speaks of another text: the statement is asked for its own. */
  async #inOwnWords<R>(form: ArraysForm, send: () => Promise<R>, askOwn: () => Promise<unknown>): Promise<R> {
    const sent = await attempt(send)
    if ('value' in sent) return sent.value
    if (form.isOwn || !hasCode(sent.error, 'DATABASE_ERROR')) throw sent.error
    const own = await attempt(askOwn)
    throw 'error' in own && hasCode(own.error, 'DATABASE_ERROR') ? own.error : sent.error
  }

  /**
   * A read the lease vouches for, or null when it must be exact. The lease is checked before, and again when the answer
   * has arrived: a read that was held back may have met a purged shard, so its answer is thrown away.
   */
  async #leased<R>(statements: number, read: (database: Connection) => Promise<R>): Promise<R | null> {
    if (this.#options.read === 'exact') return null
    const { holder } = this.#routing
    const held = await this.#map()
    if (!holder.vouchesFor(held)) return null
    const answer = await this.#route('read', statements, (shard) => this.#ask(shard, read), held)
    return holder.stillVouchesFor(held) ? answer : null
  }

  /** The state of the slot and the statements in one batch, at the primary. */
  #exact<T>(statements: Sql[]): Promise<D1Result<T>[]> {
    return this.#route('exact-read', statements.length, async (shard) => {
      const send = (database: Connection) =>
        database.batch<T>([
          database.prepare(STATE).bind(this.#options.keyspace, this.#slot),
          ...boundAll(database, statements),
        ])
      const primary = this.#primary(shard)
      const [state, ...answers] = await (this.#session?.askPrimary(shard, primary, send) ?? send(primary))
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

  #primary(shard: ShardEntry): D1Database {
    return this.#routing.shards.get(shard.binding)!
  }

  /** In the session, where there is one. */
  #ask<R>(shard: ShardEntry, send: (database: Connection) => Promise<R>): Promise<R> {
    const database = this.#primary(shard)
    return this.#session?.ask(shard, database, send) ?? send(database)
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
      return refusedError(answer.code, cause)
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
      return notMigrated(cause)
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

// ── a guarded batch: guard, statement, CAPTURED, statement, CAPTURED, … ───────────────────────────

/** Where a statement's answer stands, and where the count of captured rows after it does (a read has none). */
interface Place {
  at: number
  countAt: number | null
}

function guardedBatch(statements: (Sql & { isRead: boolean })[]) {
  const sent: Sql[] = []
  const own = statements.map(({ sql, values, isRead }): Place => {
    const at = sent.push({ sql, values })
    return { at, countAt: isRead ? null : sent.push({ sql: CAPTURED, values: [] }) }
  })
  return { sent, own }
}

/**
 * `meta.changes` counts what triggers wrote, too. What a user's trigger or a cascade wrote is the statement's, as in D1; what
 * the capture wrote while the slot moves is not.
 */
function withOwnChanges<T>(answers: D1Result<T>[], own: Place[]): D1Result<T>[] {
  const capturedAt = (place: number) => (answers[place]!.results[0] as { seq: number | null } | undefined)?.seq ?? 0
  let before = capturedAt(0)
  return own.map(({ at, countAt }) => {
    const answer = answers[at]!
    if (countAt === null) return answer
    const after = capturedAt(countAt)
    const changes = answer.meta.changes - (after - before)
    before = after
    return { ...answer, meta: { ...answer.meta, changes } }
  })
}

/** Refuses, in D1's words, what a batch can't hold. D1 leaves an empty text out of its answers, and all after it would shift. */
function refuseUnsendable(statements: Sql[]): void {
  for (const { sql } of statements) {
    if (typeof sql !== 'string') throw misuse(`Type '${typeof sql}' not supported for a statement`, 'D1_TYPE_ERROR')
    if (!statementKind(sql).isEmpty) continue
    const isLeftOut = sql.replace(/^\s+--.*/gm, '').trim() === ''
    if (!isLeftOut) throw misuse('SQL code did not contain a statement.')
    throw misuse('No SQL statements detected.')
  }
}

const bound = (database: Connection, { sql, values }: Sql) => database.prepare(sql).bind(...values)

const boundAll = (database: Connection, statements: Sql[]) => statements.map((statement) => bound(database, statement))
