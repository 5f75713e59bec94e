import type { Context } from 'hono'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { Backfills } from '../jobs/backfills.ts'
import type { Backlog } from '../jobs/backlog.ts'
import type { QueueName } from '../jobs/kinds.ts'
import type { Job } from '../jobs/outbox.ts'
import type { Pauses } from '../jobs/pauses.ts'
import type { DirectoryClient } from '../resharding/directory-operations.ts'
import type { MoverClient } from '../resharding/mover-operations.ts'
import type { ProbePage } from '../sharding/probe.ts'
import type { ReplicaSurvey } from '../sharding/replica-survey.ts'
import type { ReplicaCounts } from '../sharding/replicas.ts'
import type { Shards } from '../sharding/shards.ts'
import type { Tiers, WebEnv } from '../web/context.ts'
import type { UserList } from '../web/user-list.ts'

/** The context of operators' requests. workers/operators.ts creates it from the bindings. */
export interface OperatorContext {
  clock: Clock
  log: Log
  shards: Shards
  directory: DirectoryClient
  movers: MoverClient
  backfills: Backfills
  /** Names of the migrations that this version was built with, oldest first. */
  migrations: readonly string[]
  /** The sharded tables of each keyspace, by the keyspace's name. */
  tables: Readonly<Record<string, readonly string[]>>
  /** The table with one row per user, whose `id` is the user's id; null if there are no users to count. */
  usersTable: string | null
  /** The queries of the list of users; null if no noun has users to list. */
  userList: UserList | null
  /**
   * Sends batches that databases must refuse, and returns the refusals. Starts after the binding `after`. Writes
   * nothing.
   */
  probe(after: string | null): Promise<ProbePage>
  /** Whether requests read from replicas. */
  replicas: 'on' | 'off'
  /** Reads of this isolate that waited for a replica, or went to the primary instead, since it started. */
  replicaCounts: ReplicaCounts
  /** Asks which members of some databases answer reads. Starts after the binding `after`. */
  surveyReplicas(after: string | null): Promise<ReplicaSurvey>
  pauses: Pauses
  /** The queue of each kind of job that this version knows. */
  queueOfKinds(): Map<string, QueueName>
  /** What waits in a queue. Throws if it does not answer. */
  backlog(queue: QueueName): Promise<Backlog>
  /** Sends jobs after the response, at most `followMax` of them. */
  follow(jobs: Job[]): void
  followMax: number
  /** A shard's queries per second in this isolate over the last minute. */
  shardLoad(shardId: string): { queriesPerSecond: number }
}

/** Opens the context of an operator's request; `bindings` is the Worker's `env`. */
export type OpenOperators = (tiers: Tiers, bindings: unknown) => OperatorContext

/** The context of the current request. */
export type OperatorsOf = (c: Context<WebEnv>) => OperatorContext
