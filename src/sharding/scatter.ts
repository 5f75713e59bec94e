import { eachAtMost } from '../core/bounded.ts'
import { type BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { backoffMs } from '../core/random.ts'
import { bound } from './guarded-batch.ts'
import type { HeldMap } from './map-holder.ts'
import {
  answerOrRefusal,
  isSlotRefusal,
  refusalOf,
  SlotRefusal,
  shardUnknown,
  slotRefused,
  stateRefusal,
  timeRefusal,
  typedError,
  unavailable,
} from './refusals.ts'
import { askedOfReplica, primaryOf, type ReadPlace, readerOf } from './replica-calls.ts'
import { heldWith, mapAfter, observed, type Routing } from './routing.ts'
import type { Sql } from './row-arrays.ts'
import { keyedRow, pageSql, type ScatterQuery } from './scatter-query.ts'
import type { ShardEntry } from './shard-map.ts'
import {
  allSlots,
  hasSlot,
  joinedSpans,
  partsOf,
  type ShardPart,
  type SlotSpans,
  slotsIn,
  spansParameter,
} from './slot-spans.ts'
import { type Keyed, mergeRows, refuseDisorder, type SortKey } from './sort-keys.ts'

/** A shard that did not answer, with the reason. */
export interface ShardFailure {
  shard: string
  error: string
}

export interface ScatterOptions {
  /** The most rows of the page. Each shard reads at most one more. */
  limit: number
  /** The `next` of the previous page, or null for the first page. */
  cursor?: SortKey | null
  /** Only rows in these slots, for example those that an earlier page missed. */
  slots?: SlotSpans
  /** How many shards are asked at once. */
  concurrency?: number
  /** A shard that has not answered by then has failed. */
  deadlineMs?: number
}

/** A page of rows from many shards. It is complete if `failed` is empty. */
export interface ScatterPage<Row> {
  rows: Row[]
  failed: ShardFailure[]
  /** The slots of the failed shards. A page with the same cursor and these slots has the rows that this one lacks. */
  missing: SlotSpans
  /** The sort key of the last row, if other shards that answered have more rows. Null otherwise. */
  next: SortKey | null
}

/** The number of each state among the slots of the parameter. */
const STATES = `SELECT slots.state, count(*) AS slots FROM json_each(?) AS part CROSS JOIN slots
  ON slots.keyspace = ? AND slots.slot >= part.value ->> 0 AND slots.slot < part.value ->> 1 GROUP BY slots.state`

/**
 * One page of a query over many shards, in one global order. Each shard is asked only for the slots that one map gives
 * it, so each row is answered once, wherever moves are. If a newer map arrives meanwhile, the page starts again with it,
 * a bounded number of times. The cursor is a sort key and names no shard, so slots may move between pages.
 *
 * Never throws for a shard that does not answer: `failed` names it. Throws DATABASE_ERROR for a wrong query, and
 * KEYSPACE_UNASSIGNED.
 */
export async function scatter<Row>(
  routing: Routing,
  query: ScatterQuery<Row>,
  options: ScatterOptions,
): Promise<ScatterPage<Row>> {
  const deadline = routing.clock.now() + (options.deadlineMs ?? limits.scatterMs)
  for (let tries = 1; ; tries++) {
    const held = await heldWith(routing, query.keyspace, deadline)
    const isLast = tries === limits.scatterTriesMax
    const page = await new PageAttempt(routing, query, options, { held, deadline, isLast }).run()
    if (page) return page
  }
}

interface AttemptOptions {
  held: HeldMap
  deadline: number
  /** True for the last attempt, which keeps its map even if a newer one arrives. */
  isLast: boolean
}

/** A row as a shard answers it. */
type Answered = Record<string, unknown>

type Answer<Row> = { rows: Keyed<Row>[] } | { error: BanyanError } | 'newer map'

/** One attempt at a page, by one map. */
class PageAttempt<Row> {
  readonly #routing: Routing
  readonly #query: ScatterQuery<Row>
  readonly #options: ScatterOptions
  readonly #held: HeldMap
  readonly #deadline: number
  readonly #isLast: boolean
  readonly #failed: ShardFailure[] = []
  readonly #missing: SlotSpans = []
  #rows: Keyed<Row>[] = []
  #isOutdated = false

  constructor(
    routing: Routing,
    query: ScatterQuery<Row>,
    options: ScatterOptions,
    { held, deadline, isLast }: AttemptOptions,
  ) {
    this.#routing = routing
    this.#query = query
    this.#options = options
    this.#held = held
    this.#deadline = deadline
    this.#isLast = isLast
  }

  /** Null if a newer map has arrived. */
  async run(): Promise<ScatterPage<Row> | null> {
    const { limit, slots = allSlots, concurrency = limits.shardsAtOnceMax } = this.#options
    const parts = partsOf(this.#held.map, this.#query.keyspace, slots)
    await eachAtMost(Math.min(concurrency, limits.shardsAtOnceMax), parts, (part) => this.#take(part))
    if (this.#isOutdated || this.#hasNewerMap()) return null
    const rows = this.#rows.slice(0, limit)
    return {
      rows: rows.map(({ row }) => row),
      failed: this.#failed.toSorted((one, other) => (one.shard < other.shard ? -1 : 1)),
      missing: joinedSpans(this.#missing),
      next: this.#rows.length > limit ? (rows.at(-1)?.key ?? null) : null,
    }
  }

  /** Merges answers as they arrive, so that only `limit` rows and the answers under way are in memory. */
  async #take(part: ShardPart): Promise<void> {
    if (this.#isOutdated) return
    const answer = await this.#ask(part)
    if (answer === 'newer map') this.#isOutdated = true
    else if ('error' in answer) {
      this.#failed.push({ shard: part.shard.id, error: messageOf(answer.error) })
      this.#missing.push(...part.spans)
    } else {
      refuseDisorder(answer.rows, this.#query.direction)
      this.#rows = mergeRows(this.#rows, answer.rows, this.#query.direction, this.#options.limit + 1)
    }
  }

  /** Without time for another attempt, the page keeps its map, because each answer has been checked by itself. */
  #hasNewerMap(): boolean {
    return !this.#isLast && this.#leftMs > 0 && this.#routing.holder.epoch !== this.#held.map.epoch
  }

  /** One shard's rows. Repeats reads after transient errors and refusals, until the deadline. */
  async #ask(part: ShardPart): Promise<Answer<Row>> {
    const { clock, random, holder } = this.#routing
    const { shard, spans } = part
    const held = this.#held
    const { limit, cursor = null } = this.#options
    const sql = pageSql(this.#query, { spans, after: cursor, limit: limit + 1 })
    const { shards, replicas } = this.#routing
    const database = shards.get(shard.binding)
    if (!database) return { error: shardUnknown(shard) }
    const mustBeExact = replicas?.mustBeExact(shard, (slot) => hasSlot(spans, slot)) ?? false
    const mayAskReplica = replicas !== undefined && !replicas.hasWritten(shard)
    let place: ReadPlace = mayAskReplica ? 'replica' : 'primary'
    for (let attempt = 0, failures = 0; ; attempt++) {
      const refusal = stateRefusal(shard, 'read') ?? timeRefusal(this.#routing) ?? this.#lateness(shard)
      if (refusal) return { error: refusal }
      if (this.#hasNewerMap()) return 'newer map'
      const kind = holder.stillVouchesFor(held) && !mustBeExact ? 'read' : 'exact-read'
      const call = { shard: shard.id, slot: '*', operation: this.#query.operation, kind, statements: 1 } as const
      const send = () =>
        kind === 'read' ? this.#leased(shard, database, place, sql) : this.#exact(shard, database, spans, sql)
      const outcome =
        kind === 'read' && place === 'replica'
          ? await askedOfReplica(this.#routing, shard, call, send, this.#leftMs)
          : await observed(this.#routing, call, send, Math.min(limits.shardCallMs, this.#leftMs))
      if (outcome === 'fell back') {
        place = 'primary'
        continue
      }
      if ('value' in outcome) {
        // A delayed read may have met a purged shard. Then it is repeated exactly.
        if (kind === 'read' && !holder.stillVouchesFor(held)) continue
        return { rows: outcome.value.map((row) => keyedRow(this.#query, row)) }
      }
      const answer = answerOrRefusal(outcome.error)
      if (answer.kind === 'transient' || answer.kind === 'overloaded') {
        if (++failures > limits.readRetriesMax || this.#leftMs === 0)
          return { error: unavailable(shard, 'read', outcome.error) }
        const waitMs = backoffMs(random, failures, limits.readRetryBaseMs, limits.routeBackoffCapMs)
        await clock.sleep(Math.min(waitMs, this.#leftMs))
        if (mayAskReplica) place = 'replica' // while the primary is unavailable, replicas still serve
      } else if (isSlotRefusal(answer)) {
        const next = await mapAfter(this.#routing, answer.code, { map: held.map, attempt, deadline: this.#deadline })
        if (next && this.#hasNewerMap()) return 'newer map'
        if (next?.epoch !== held.map.epoch) return { error: slotRefused(answer.code) }
      } else {
        const error = typedError(answer, outcome.error, clock)
        // A query that one database refuses is wrong in all of them.
        if (answer.kind === 'statement' || answer.kind === 'constraint') throw error
        return { error }
      }
    }
  }

  /** The states of the slots and the query in one batch. Throws SlotRefusal unless this shard serves all of them. */
  async #exact(shard: ShardEntry, database: D1Database, spans: SlotSpans, sql: Sql): Promise<Answered[]> {
    const { connection, noted } = primaryOf(this.#routing, shard, database, 'exact-read')
    const states = connection.prepare(STATES).bind(spansParameter(spans), this.#query.keyspace)
    const [counts, answer] = await noted(connection.batch<Answered>([states, bound(connection, sql)]))
    const found = (counts?.results ?? []) as { state: string; slots: number }[]
    const refusals = found.map(({ state }) => refusalOf(state))
    const known = found.reduce((sum, { slots }) => sum + slots, 0)
    if (known < slotsIn(spans) || refusals.includes('SLOT_NOT_OWNED')) throw new SlotRefusal('SLOT_NOT_OWNED')
    if (refusals.includes('SLOT_FENCED')) throw new SlotRefusal('SLOT_FENCED')
    return answer?.results ?? []
  }

  async #leased(shard: ShardEntry, database: D1Database, place: ReadPlace, sql: Sql): Promise<Answered[]> {
    const connection = readerOf(this.#routing, shard, database, place)
    return (await bound(connection, sql).all<Answered>()).results
  }

  get #leftMs(): number {
    return Math.max(0, this.#deadline - this.#routing.clock.now())
  }

  #lateness(shard: ShardEntry): BanyanError | null {
    return this.#leftMs > 0 ? null : unavailable(shard, 'read', new Error('not asked before the deadline'))
  }
}
