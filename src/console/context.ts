import type { Context } from 'hono'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { DirectoryClient } from '../resharding/directory-operations.ts'
import type { MoverClient } from '../resharding/mover-operations.ts'
import type { ProbePage } from '../sharding/probe.ts'
import type { Shards } from '../sharding/shards.ts'
import type { Tiers, WebEnv } from '../web/context.ts'

/** What operators' requests use; made from the bindings by workers/operators.ts. */
export interface OperatorContext {
  clock: Clock
  log: Log
  shards: Shards
  directory: DirectoryClient
  movers: MoverClient
  /** Names of the migrations that this version was built with, oldest first. */
  migrations: readonly string[]
  /** The table with one row per user, whose `id` is the user's id; null if there are no users to count. */
  usersTable: string | null
  /** Batches that the databases behind `after` must refuse, and how they do. Writes nothing. */
  probe(after: string | null): Promise<ProbePage>
  /** Queries per second of each shard, as this isolate saw them lately. */
  shardLoad(shardId: string): { queriesPerSecond: number }
}

/** Opens the context of an operator's request; `bindings` is the Worker's `env`. */
export type OpenOperators = (tiers: Tiers, bindings: unknown) => OperatorContext

/** The context of the request in hand. */
export type OperatorsOf = (c: Context<WebEnv>) => OperatorContext
