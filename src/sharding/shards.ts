import { eachAtMost, windowOf } from '../core/bounded.ts'
import { inTime } from '../core/clock.ts'
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
import type { RouteOptions, Routing } from './routing.ts'
import type { ShardEntry, ShardMap } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'
import type { Allowance } from './statement-budget.ts'

/** The names the other rooms use for what is D1's. */
export type ShardDatabase = D1Database
export type ShardStatement = D1PreparedStatement

/** SQL that is true or false, with its values: for statements that only do something where it holds. */
export interface SqlCondition {
  sql: string
  values: unknown[]
}

export const always: SqlCondition = { sql: '1', values: [] }

/** One shard, for housekeeping over many slots. Its row triggers are on; it takes no guard, since it names no slot. */
export interface ShardVisit {
  id: string
  binding: string
  /** SQL that is true for rows whose slot takes writes here: every housekeeping statement must carry it. */
  ownedHere(column: string): string
  run<T = Record<string, unknown>>(sql: string, ...values: unknown[]): Promise<D1Result<T>>
}

export interface ShardFailure {
  shard: string
  error: string
}

/** Which shards a turn visits: an invocation has 1,000 queries, and there may be 1,000 shards. */
export interface ShardWindow {
  turn: number
  size: number
  /** Leaves out those that an operator has made read-only, or is restoring. */
  takesWrites?: boolean
  /** What the turn may send. */
  budget?: Allowance
  /** Visits only the first so many of the window. */
  visitsMax?: number
}

/** The window, cut to the shards that its budget is enough for at so many statements per shard. */
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
   * The database of the shard that owns `id`'s slot (its first four characters): a `D1Database`, guarded, fenced and
   * routed anew when the slot moves.
   */
  of(id: string, options: Partial<RouteOptions> = {}): ShardDatabase {
    const slot = slotOf(id)
    if (!/^[0-9a-f]{4}$/.test(slot)) throw new BanyanError('NOT_FOUND', 'The id is malformed.')
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
   * One idempotent batch a shard, for many slots: guarded for all of them, and routed anew, item by item, when slots
   * move. See `GroupedBatches`. Each item's key starts with its slot. Never throws for an item: `failed` says why.
   */
  group<I extends Slotted, Batch extends NamedBatch>(
    items: I[],
    options: GroupOptions,
    build: BuildBatch<I, Batch>,
  ): Promise<GroupOutcome<I, Batch>> {
    return new GroupedBatches(this.#routing, options, build).run(items)
  }

  /**
   * Visits every shard, at most six at a time. A shard that fails is named in `failed`, so that a partial answer never
   * looks complete. With a `window` it visits the shards whose turn it is.
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

  /** The same databases; `each` visits those of this map, whatever map the isolate holds. */
  by(map: ShardMap): Shards {
    return new Shards(this.#routing, map)
  }

  /** True when this isolate has had a map: the databases were migrated and given out. */
  get hasMap(): boolean {
    return this.#routing.holder.hasMap
  }

  /** The newest epoch that this isolate knows of; null where it has never had a map. */
  get epoch(): number | null {
    return this.#routing.holder.epoch
  }

  /** The map this request routes by. */
  async map(): Promise<ShardMap> {
    if (this.#given) return this.#given
    const { holder, request, atLeastEpoch } = this.#routing
    return (await holder.current(request, atLeastEpoch)).map
  }

  #runner(id: string, binding: string): ShardVisit['run'] {
    return async <T>(sql: string, ...values: unknown[]) => {
      const database = this.#routing.shards.get(binding)
      if (!database) throw new BanyanError('SHARD_UNKNOWN', `This version of the Worker has no binding ${binding}.`)
      const call = { shard: id, slot: '*', operation: 'shards.each', kind: 'write', statements: 1 } as const
      const refusal = timeRefusal(this.#routing)
      if (refusal) throw refusal
      await this.#routing.observer.before?.(call)
      const answer = database
        .prepare(sql)
        .bind(...values)
        .all<T>()
      return inTime(this.#routing.clock, limits.shardCallMs, answer)
    }
  }
}

const takesWrites = ({ state }: ShardEntry) => state === 'serving' || state === 'draining'

/**
 * The condition that a row's slot takes writes in this shard. A bare `column` is looked up in `slots` first, whose columns
 * therefore have names here that it does not contain.
 */
export function ownedHere(keyspace: Keyspace, column: string): string {
  let own = 'known'
  while (column.toLowerCase().includes(own)) own += '_'
  return `EXISTS (SELECT 1 FROM (SELECT keyspace AS ${own}_keyspace, slot AS ${own}_slot, state AS ${own}_state FROM slots)
    WHERE ${own}_keyspace = '${keyspace}' AND ${own}_slot = substr(${column}, 1, 4) AND ${own}_state IN ('active', 'moving'))`
}
