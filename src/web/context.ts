import type { Clock } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import type { Job } from '../jobs/outbox.ts'
import type { Rebalance, RebalanceRequest } from '../resharding/fleet.ts'
import type { MoveRequest } from '../resharding/move-planning.ts'
import type { MoveChoice, MoveRecord } from '../resharding/record.ts'
import type { MoveSides } from '../resharding/sides.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Claims } from '../sharding/claims.ts'
import type { Idempotency, RetryKey } from '../sharding/idempotency.ts'
import type { ProbePage } from '../sharding/probe.ts'
import type { ShardEntry, ShardMap, ShardState } from '../sharding/shard-map.ts'
import type { Shards } from '../sharding/shards.ts'
import type { AssetUrls } from './layout.tsx'

/** The settings, read and checked once an isolate (workers/settings.ts). */
export interface Settings {
  signingKey: string
  operatorToken: string | null
  publicOrigin: string | null
  jobs: 'queue' | 'inline'
  rateLimits: 'on' | 'off'
  leaseMs: number
  graceMs: number
  /** Of each database's time that a move may take: above 0, at most 1. */
  moveShare: number
  /** How large a shard's database may become: what moves are planned by. */
  shardBytesMax: number
  mailFrom: string
  /** What is set in a way that is fit for localhost only, and how to mend it; or null. */
  localOnly: string | null
}

export type RateLimitName = 'requests' | 'writes' | 'credentials'

/** Calls a request made, as `server-timing` tells them. */
export interface Calls {
  d1: number
  kv: number
  directory: number
}

export interface DependencyReport {
  name: string
  ok: boolean
  detail: string
}

export type MoveVerb = 'abort' | 'reverse' | 'complete'

/**
 * The directory's records of moves, as operators use it. The directory wakes movers of what is planned, this one those of what is steered. With an
 * Idempotency-Key there is one effect, and the first answer again; throws IDEMPOTENCY_KEY_REUSED.
 */
export interface MoveOperations {
  /** One move a source; none where the target has all of the slots. Throws as `MoveRecords.plan`, and OUTCOME_UNKNOWN. */
  plan(request: MoveRequest, retry: RetryKey | null): Promise<MoveRecord[]>
  /** Newest first. `before` is the id of the last one of the page before. Throws DIRECTORY_UNAVAILABLE. */
  list(page: { limit: number; before: string | null }): Promise<MoveRecord[]>
  /** Throws DIRECTORY_UNAVAILABLE. */
  find(id: string): Promise<MoveRecord | null>
  /** Throws NOT_FOUND, MOVE_STATE, SHARD_IN_MOVE, OUTCOME_UNKNOWN. */
  steer(id: string, verb: MoveVerb, retry: RetryKey | null): Promise<MoveRecord>
  /** What both shards hold of the move, and the choices that are safe now. Throws NOT_FOUND, SHARD_UNAVAILABLE. */
  sides(id: string): Promise<MoveSides>
  /** Carries out a choice for a move. Throws NOT_FOUND, MOVE_STATE with the choices that are safe now, SHARD_UNAVAILABLE. */
  resolve(id: string, choice: MoveChoice): Promise<MoveRecord>
}

/** Which shards there are, by the directory. The directory wakes the movers of what is planned. Idempotency-Keys as of `MoveOperations`. */
export interface ShardOperations {
  /** The map as it is now. Throws DIRECTORY_UNAVAILABLE, and what the directory said. */
  map(): Promise<ShardMap>
  /** Throws as `Fleet.join`, and OUTCOME_UNKNOWN. */
  join(binding: string, retry: RetryKey | null): Promise<ShardEntry>
  /** Throws NOT_FOUND, SHARD_IN_MOVE, OUTCOME_UNKNOWN. */
  setState(id: string, state: ShardState): Promise<ShardEntry>
  /** Throws NOT_FOUND, SHARD_IN_MOVE, SHARD_NOT_EMPTY, OUTCOME_UNKNOWN. */
  remove(id: string): Promise<void>
  rebalance(request: RebalanceRequest, retry: RetryKey | null): Promise<Rebalance>
  drain(id: string, retry: RetryKey | null): Promise<Rebalance>
}

/** The tiers, as a request sees them; made from the bindings by workers/context.ts. */
export interface Tiers {
  settings: Settings
  clock: Clock
  random: Random
  ids: IdSource
  log: Log
  shards: Shards
  claims: Claims
  idempotency: Idempotency
  sessions: Sessions
  assets: AssetUrls
  moves: MoveOperations
  fleet: ShardOperations
  /** Names of the migrations that this version was built with, oldest first. */
  migrations: readonly string[]
  calls: Calls
  /** True once this request has committed a write: its answer carries a new causal token. */
  hasWritten(): boolean
  /** After a commit: its outbox rows go to their queue when the response has been sent. */
  follow(jobs: Job[]): void
  /** Waits for what the client sends: that takes none of the request's time. */
  received<T>(work: Promise<T>): Promise<T>
  /** What is left for when the response has been sent: relays the outbox, refreshes the map when it is due. */
  afterResponse(): Promise<void>
  /** False when the limit is reached. A limiter that fails lets the request pass. */
  withinLimit(name: RateLimitName, key: string): Promise<boolean>
  staticFile(request: Request): Promise<Response>
  dependencies(): Promise<DependencyReport[]>
  /** Batches that the databases behind `after` must refuse, and how they do. Writes nothing. */
  probe(after: string | null): Promise<ProbePage>
  /** Bytes and queries a second of each shard, as this isolate saw them lately. */
  shardLoad(shardId: string): { queriesPerSecond: number }
  waitUntil(promise: Promise<unknown>): void
}

/** What Hono carries from middleware to routes. */
export interface WebEnv {
  Variables: {
    requestId: string
    tiers: Tiers
    /** Whom the request acts for; resolved once, on first use. */
    session(): Promise<Session | null>
    /** The body as text, read and bounded by the middleware. */
    bodyText: string
  }
}
