import { eachAtMost, windowOf } from '../core/bounded.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import {
  type BuildBatch,
  GroupedBatches,
  type GroupOptions,
  type GroupOutcome,
  type Slotted,
} from './grouped-batches.ts'
import type { NamedBatch } from './named-batch.ts'
import { timeRefusal } from './refusals.ts'
import { RoutedDatabase } from './routed-database.ts'
import { Router } from './router.ts'
import { observed, type RouteOptions, type Routing } from './routing.ts'
import { type ScatterOptions, type ScatterPage, type ShardFailure, scatter } from './scatter.ts'
import type { ScatterQuery } from './scatter-query.ts'
import { type StreamOptions, type StreamPage, type StreamQuery, scatterStream } from './scatter-stream.ts'
import type { ShardEntry, ShardMap } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'
import type { Allowance } from './statement-budget.ts'

/** Names for D1's types that other folders use. */
export type ShardDatabase = D1Database
export type ShardStatement = D1PreparedStatement

/** An SQL condition with its values, for statements that act only if it is true. */
export interface SqlCondition {
  sql: string
  values: unknown[]
}

export const always: SqlCondition = { sql: '1', values: [] }

/** One shard, for housekeeping over many slots. Its row triggers apply. It has no guard, because it names no slot. */
export interface ShardVisit {
  id: string
  binding: string
  /** SQL that is true for rows whose slot takes writes here. Every housekeeping statement must include it. */
  ownedHere(column: string): string
  run<T = Record<string, unknown>>(sql: string, ...values: unknown[]): Promise<D1Result<T>>
}

/** The shards that a turn visits. An invocation has 1,000 queries, and there may be 1,000 shards. */
export interface ShardWindow {
  turn: number
  size: number
  /** Skips shards that are read-only or being restored. */
  takesWrites?: boolean
  /** The statements that the turn may send. */
  budget?: Allowance
  /** Visits only this many shards of the window. */
  visitsMax?: number
}

/** Limits the window to the shards that its budget can pay for, at `statementsPerShard` each. */
export const affordable = (window: ShardWindow | undefined, statementsPerShard: number): ShardWindow | undefined =>
  window?.budget ? { ...window, visitsMax: Math.floor(window.budget.left / statementsPerShard) } : window

/** The databases, as a request sees them. */
export class Shards {
  readonly #routing: Routing
  readonly #given: ShardMap | null

  constructor(routing: Routing, given: ShardMap | null = null) {
    this.#routing = routing
    this.#given = given
  }

  /**
   * The database of the shard that owns `id`'s slot (the id's first four characters): a `D1Database` that is guarded,
   * fenced, and routed again when the slot moves.
   */
  of(id: string, options: Partial<RouteOptions> = {}): ShardDatabase {
    const slot = slotOf(id)
    if (!/^[0-9a-f]{4}$/.test(slot))
      throw new BanyanError('NOT_FOUND', 'The id is malformed. An id starts with four hex digits.')
    return new RoutedDatabase(
      new Router(this.#routing, slot, {
        keyspace: 'users',
        read: 'lease',
        idempotent: false,
        operation: 'unnamed',
        ...options,
      }),
    )
  }

  /**
   * Sends one idempotent batch per shard for many slots. Each batch is guarded for all its slots, and items are routed
   * again individually when slots move. See `GroupedBatches`. Each item's key starts with its slot. Never throws for an
   * item; `failed` has the reasons.
   */
  group<I extends Slotted, Batch extends NamedBatch>(
    items: I[],
    options: GroupOptions,
    build: BuildBatch<I, Batch>,
  ): Promise<GroupOutcome<I, Batch>> {
    return new GroupedBatches(this.#routing, options, build).run(items)
  }

  /** One page of a query over many shards, in one global order. `failed` names the shards that did not answer. */
  scatter<Row>(query: ScatterQuery<Row>, options: ScatterOptions): Promise<ScatterPage<Row>> {
    return scatter(this.#routing, query, options)
  }

  /** All rows of a table, in pages, without a global order. @public For nouns. */
  stream<Row>(query: StreamQuery<Row>, options?: StreamOptions): AsyncGenerator<StreamPage<Row>> {
    return scatterStream(this.#routing, query, options)
  }

  /**
   * Visits every shard, at most six at a time. `failed` names the shards that failed, so a partial answer never looks
   * complete. With a `window`, visits only the shards whose turn it is.
   */
  async each<T>(
    keyspace: Keyspace,
    visit: (shard: ShardVisit) => Promise<T>,
    window?: ShardWindow,
  ): Promise<{ values: T[]; failed: ShardFailure[] }> {
    const map = await this.map()
    const values: T[] = []
    const failed: ShardFailure[] = []
    const shards = window?.takesWrites ? map.shards.filter(takesWrites) : map.shards
    const visited = window ? windowOf(shards, window).slice(0, window.visitsMax) : shards
    await eachAtMost(limits.shardsAtOnceMax, visited, async ({ id, binding }) => {
      try {
        values.push(
          await visit({
            id,
            binding,
            ownedHere: (column) => ownedHere(keyspace, column),
            run: this.#runner(id, binding),
          }),
        )
      } catch (error) {
        failed.push({ shard: id, error: messageOf(error) })
      }
    })
    return { values, failed }
  }

  /** These shards without replicas, for work that must see every commit. */
  atPrimary(): Shards {
    const { replicas: _, ...routing } = this.#routing
    return new Shards(routing, this.#given)
  }

  /** Like these shards, but `each` visits the shards of `map` instead of the isolate's map. */
  by(map: ShardMap): Shards {
    return new Shards(this.#routing, map)
  }

  /** True if this isolate has ever had a map, so the databases are migrated and assigned. */
  get hasMap(): boolean {
    return this.#routing.holder.hasMap
  }

  /** The newest epoch that this isolate knows, or null if it has never had a map. */
  get epoch(): number | null {
    return this.#routing.holder.epoch
  }

  /** The map that this request routes by. */
  async map(): Promise<ShardMap> {
    if (this.#given) return this.#given
    const { holder, request, atLeastEpoch } = this.#routing
    return (await holder.current(request, atLeastEpoch)).map
  }

  #runner(id: string, binding: string): ShardVisit['run'] {
    return async <T>(sql: string, ...values: unknown[]) => {
      const database = this.#routing.shards.get(binding)
      if (!database)
        throw new BanyanError(
          'SHARD_UNKNOWN',
          `This version of the Worker has no binding ${binding}. Deploy a version that has it.`,
        )
      const call = { shard: id, slot: '*', operation: 'shards.each', kind: 'write', statements: 1 } as const
      const refusal = timeRefusal(this.#routing)
      if (refusal) throw refusal
      const send = () =>
        database
          .prepare(sql)
          .bind(...values)
          .all<T>()
      const outcome = await observed(this.#routing, call, send, limits.shardCallMs)
      if ('error' in outcome) throw outcome.error
      return outcome.value
    }
  }
}

const takesWrites = ({ state }: ShardEntry) => state === 'serving' || state === 'draining'

/**
 * The condition that a row's slot takes writes in this shard. A bare `column` would be looked up in `slots` first.
 * Therefore the columns of `slots` get names that `column` does not contain.
 */
export function ownedHere(keyspace: Keyspace, column: string): string {
  let own = 'known'
  while (column.toLowerCase().includes(own)) own += '_'
  return `EXISTS (SELECT 1 FROM (SELECT keyspace AS ${own}_keyspace, slot AS ${own}_slot, state AS ${own}_state FROM slots)
    WHERE ${own}_keyspace = '${keyspace}' AND ${own}_slot = substr(${column}, 1, 4) AND ${own}_state IN ('active', 'moving'))`
}
