import { hasCode, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { backoffMs } from '../core/random.ts'
import { isUnapplied, OutcomeUnknownError } from './answers.ts'
import {
  bound,
  boundAll,
  type Connection,
  GUARD,
  guardedBatch,
  refuseUnsendable,
  type SentStatement,
  withOwnChanges,
} from './guarded-batch.ts'
import type { HeldMap } from './map-holder.ts'
import {
  answerOrRefusal,
  type CallKind,
  isSlotRefusal,
  refuseUnlessOwned,
  shardUnknown,
  slotRefused,
  stateRefusal,
  timeRefusal,
  typedError,
  unavailable,
} from './refusals.ts'
import { askedOfReplica, primaryOf, type ReadPlace, readerOf } from './replica-calls.ts'
import { attempt, mapAfter, mapWith, observed, type RouteOptions, type Routing } from './routing.ts'
import { type ArraysForm, arraysForm, type Sql } from './row-arrays.ts'
import { type ShardEntry, type ShardMap, unassigned } from './shard-map.ts'
import { ShardSession } from './shard-session.ts'

/** A call that the router sends to the owner of its slot. */
interface Routed<R> {
  kind: CallKind
  statements: number
  send(shard: ShardEntry, place: ReadPlace): Promise<R>
  /** The map to start with. */
  held?: HeldMap
  mayAskReplica?: boolean
}

/** Rows as arrays, with or without column names. */
type Shape = 'arrays' | 'named-arrays'
type Arrays = [string[], ...unknown[][]]
type Row = Record<string, unknown>

const STATE = 'SELECT state FROM slots WHERE keyspace = ? AND slot = ?'
/** Ends a batch that must leave no changes. */
const ABORT = "SELECT json('')"
const ABORTED = 'malformed JSON'

/** Names such as `1`, from `SELECT text, 1`. JavaScript puts such keys of an object first. */
const WHOLE_NUMBER = /^\d+$/

/** The answer to a batch of one statement. */
const only = <T>([answer]: D1Result<T>[]): D1Result<T> => present(answer, 'an answer to the statement')

/** Sends statements to the shard that owns a slot, and handles its answers. */
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
    return new Router(this.#routing, this.#slot, this.#options, this.#newSession(constraintOrBookmark))
  }

  #newSession(constraintOrBookmark: string): ShardSession {
    const { replicas } = this.#routing
    return new ShardSession(constraintOrBookmark, replicas && ((shard) => replicas.floorOf(shard)))
  }

  /** `<shard id>:<D1 bookmark>` of the session's latest answer, or null. */
  bookmark(): string | null {
    return this.#session?.bookmark ?? null
  }

  /** True if the other router may send a statement of this router. */
  mayGoBy(other: Router): boolean {
    return (
      this.#routing === other.#routing &&
      this.#slot === other.#slot &&
      this.#options.keyspace === other.#options.keyspace &&
      // Otherwise the other router would send the statement without this router's condition.
      (this.#options.mustHold === undefined || this.#options.mustHold === other.#options.mustHold)
    )
  }

  async single<T>(statement: SentStatement): Promise<D1Result<T>> {
    return only(await this.batch<T>([statement]))
  }

  /** A statement's rows as arrays, preceded by its column names if the shape asks for them. */
  async arrays<T>(statement: SentStatement, shape: Shape): Promise<[string[], ...T[]]> {
    refuseUnsendable([statement])
    const arrays = statement.isRead ? this.#readArrays(statement, shape) : this.#writeArrays(statement, shape)
    return (await arrays) as [string[], ...T[]]
  }

  async batch<T>(statements: SentStatement[]): Promise<D1Result<T>[]> {
    refuseUnsendable(statements)
    return statements.every((statement) => statement.isRead) ? this.#read<T>(statements) : this.#write<T>(statements)
  }

  // ── writes ────────────────────────────────────────────────────────────────────────────────────

  async #write<T>(statements: SentStatement[]): Promise<D1Result<T>[]> {
    const guards = this.#guards()
    const { sent, own } = guardedBatch(statements, guards.length)
    const answers = await this.#route({
      kind: 'write',
      statements: statements.length,
      send: (shard) =>
        this.#askWriter(shard, (database) => database.batch<T>(boundAll(database, [...guards, ...sent]))),
    })
    return withOwnChanges(answers, own)
  }

  #guards(): Sql[] {
    const { keyspace, mustHold } = this.#options
    const guard = { sql: GUARD, values: [keyspace, this.#slot] }
    return mustHold ? [guard, mustHold] : [guard]
  }

  async #writeArrays(statement: Sql, shape: Shape): Promise<Arrays> {
    const form = arraysForm(statement)
    const send = async () => only(await this.#write<Row>([{ ...form, isRead: false }])).results
    const rows = await this.#inOwnWords(form, send, () => this.#aborted(statement))
    // The rows are written, so a failure from here on is a lost answer.
    const arrays = await attempt(() => this.#arraysOf(form, rows, shape))
    if ('error' in arrays) throw new OutcomeUnknownError(arrays.error)
    return arrays.value
  }

  /** Sends a write in a batch that is rolled back. Throws D1's error for the write, if it has one. */
  async #aborted(statement: Sql): Promise<void> {
    const outcome = await attempt(() =>
      this.#route({
        kind: 'exact-read',
        statements: 1,
        send: (shard) =>
          this.#askPrimary(shard, (database) =>
            database.batch([...boundAll(database, [...this.#guards(), statement]), database.prepare(ABORT)]),
          ),
      }),
    )
    if ('error' in outcome && !messageOf(outcome.error).includes(ABORTED)) throw outcome.error
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────

  async #read<T>(statements: Sql[]): Promise<D1Result<T>[]> {
    const [first] = statements
    const leased = await this.#leased(statements.length, async (database) =>
      first && statements.length === 1
        ? [await bound(database, first).all<T>()]
        : database.batch<T>(boundAll(database, statements)),
    )
    return leased ?? this.#exact<T>(statements)
  }

  async #readArrays(statement: Sql, shape: Shape): Promise<Arrays> {
    const leased = await this.#leased(1, (database) => bound(database, statement).raw({ columnNames: true }))
    if (leased) return leased as Arrays
    const form = arraysForm(statement)
    const send = async () => only(await this.#exact<Row>([form])).results
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

  /** Column names in order. They can't be derived from zero rows, or from rows as objects. */
  async #columnNames(asked: Sql | null): Promise<string[]> {
    if (asked === null) return []
    return this.#route({
      kind: 'read',
      statements: 1,
      send: async (shard) => {
        const [names] = await bound(this.#database(shard), asked).raw({ columnNames: true })
        return names
      },
    })
  }

  /**
   * If a rewritten form fails, its error refers to a different text. Therefore the original statement is run to get its
   * own error.
   */
  async #inOwnWords<R>(form: ArraysForm, send: () => Promise<R>, askOwn: () => Promise<unknown>): Promise<R> {
    const sent = await attempt(send)
    if ('value' in sent) return sent.value
    if (form.isOwn || !hasCode(sent.error, 'DATABASE_ERROR')) throw sent.error
    const own = await attempt(askOwn)
    throw 'error' in own && hasCode(own.error, 'DATABASE_ERROR') ? own.error : sent.error
  }

  /**
   * A read under the map's lease, or null if it must be exact. The lease is checked before the read and again when the
   * answer arrives. A delayed read may have met a purged shard, so its answer is then discarded.
   */
  async #leased<R>(statements: number, read: (database: Connection) => Promise<R>): Promise<R | null> {
    if (this.#options.read === 'exact') return null
    const { holder } = this.#routing
    const held = await this.#map()
    if (!holder.vouchesFor(held) || this.#mustBeExact(held.map)) return null
    const send = (shard: ShardEntry, place: ReadPlace) => this.#askReader(shard, place, read)
    const mayAskReplica = !this.#session && !this.#hasWritten(held.map)
    const answer = await this.#route({ kind: 'read', statements, send, held, mayAskReplica })
    return holder.stillVouchesFor(held) ? answer : null
  }

  /** True if the map does not know the keyspace yet, or no replica may answer this client. */
  #mustBeExact(map: ShardMap): boolean {
    const { keyspace } = this.#options
    if (!map.has(keyspace)) return true
    const owner = map.ownerOf(keyspace, this.#slot)
    return this.#routing.replicas?.mustBeExact(owner, (slot) => slot === this.#slot) ?? false
  }

  #hasWritten(map: ShardMap): boolean {
    return this.#routing.replicas?.hasWritten(map.ownerOf(this.#options.keyspace, this.#slot)) ?? false
  }

  /** The slot's state and the statements in one batch, at the primary. */
  #exact<T>(statements: Sql[]): Promise<D1Result<T>[]> {
    const send = (database: Connection) =>
      database.batch<T>([
        database.prepare(STATE).bind(this.#options.keyspace, this.#slot),
        ...boundAll(database, statements),
      ])
    return this.#route({
      kind: 'exact-read',
      statements: statements.length,
      send: async (shard) => {
        const [state, ...answers] = await this.#askPrimary(shard, send)
        refuseUnlessOwned((state?.results[0] as { state: string } | undefined)?.state)
        return answers
      },
    })
  }

  // ── the answer table ──────────────────────────────────────────────────────────────────────────

  /**
   * Calls the owner and handles refusals within the budget. A batch is sent again only if nothing of it was applied, or
   * if it is idempotent. In the latter case it may have been applied, so no later refusal may say that nothing was
   * written. A read that a replica does not answer in time goes to the primary.
   */
  async #route<R>({ kind, statements, send, held, mayAskReplica = false }: Routed<R>): Promise<R> {
    const { clock, random, shards, replicas } = this.#routing
    const mayRepeat = kind !== 'write' || this.#options.idempotent
    const deadline = clock.now() + limits.routeBudgetMs
    const { keyspace } = this.#options
    const known = await mapWith(this.#routing, keyspace, (held ?? (await this.#map())).map, deadline)
    if (!known) throw unassigned(keyspace)
    let map = known
    let maybeApplied: OutcomeUnknownError | null = null
    let place: ReadPlace = replicas && mayAskReplica ? 'replica' : 'primary'
    for (let attempt = 0, failures = 0; ; attempt++) {
      const shard = map.ownerOf(keyspace, this.#slot)
      const refusal =
        (shards.has(shard.binding) ? stateRefusal(shard, kind) : shardUnknown(shard)) ?? timeRefusal(this.#routing)
      if (refusal) throw maybeApplied ?? refusal
      const { operation } = this.#options
      const call = { shard: shard.id, slot: this.#slot, operation, kind, statements }
      const outcome =
        place === 'replica'
          ? await askedOfReplica(this.#routing, shard, call, () => send(shard, 'replica'))
          : await observed(
              this.#routing,
              call,
              () => send(shard, 'primary'),
              mayRepeat ? limits.shardCallMs : limits.shardWriteMs,
            )
      if (outcome === 'fell back') {
        place = 'primary'
        continue
      }
      if ('value' in outcome) return outcome.value
      const answer = answerOrRefusal(outcome.error)
      const leftMs = deadline - clock.now()
      if (answer.kind === 'transient' || answer.kind === 'overloaded') {
        if (answer.kind === 'transient' && !mayRepeat) throw new OutcomeUnknownError(outcome.error)
        if (answer.kind === 'transient' && kind === 'write') maybeApplied = new OutcomeUnknownError(outcome.error)
        if (++failures > limits.readRetriesMax || leftMs <= 0)
          throw maybeApplied ?? unavailable(shard, kind, outcome.error)
        await clock.sleep(backoffMs(random, failures, limits.readRetryBaseMs, limits.routeBackoffCapMs))
        if (replicas && mayAskReplica) place = 'replica' // while the primary is unavailable, replicas still serve
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

  #database(shard: ShardEntry): D1Database {
    return present(this.#routing.shards.get(shard.binding), 'the database of a shard that the route has checked')
  }

  /** A plain read, in the session if there is one. */
  #askReader<R>(shard: ShardEntry, place: ReadPlace, send: (database: Connection) => Promise<R>): Promise<R> {
    const database = this.#database(shard)
    return this.#session?.ask(shard, database, send) ?? send(readerOf(this.#routing, shard, database, place))
  }

  /** A write, in the session if there is one. D1 sends it to the primary. */
  async #askWriter<R>(shard: ShardEntry, send: (database: Connection) => Promise<R>): Promise<R> {
    if (!this.#session) return this.#ask(shard, 'write', send)
    const answer = await this.#session.ask(shard, this.#database(shard), send)
    this.#routing.replicas?.noteWrite(shard, this.#session.seenAt(shard))
    return answer
  }

  /** An exact read, in the session if there is one. */
  #askPrimary<R>(shard: ShardEntry, send: (database: Connection) => Promise<R>): Promise<R> {
    if (this.#session) return this.#session.askPrimary(shard, this.#database(shard), send)
    return this.#ask(shard, 'exact-read', send)
  }

  #ask<R>(shard: ShardEntry, kind: 'write' | 'exact-read', send: (database: Connection) => Promise<R>): Promise<R> {
    const { connection, noted } = primaryOf(this.#routing, shard, this.#database(shard), kind)
    return noted(send(connection))
  }
}
