import { type Clock, inTime, type TimeBudget } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import { backoffMs, type Random } from '../core/random.ts'
import type { HeldMap, MapHolder, MapRequest } from './map-holder.ts'
import type { CallKind, SlotRefusalCode } from './refusals.ts'
import type { Replicas } from './replicas.ts'
import type { Sql } from './row-arrays.ts'
import { type ShardMap, unassigned } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'

/** One call of a shard, as an observer sees it. */
export interface ShardCall {
  shard: string
  slot: string
  /** The caller's name for the call, so that a test double can fail exactly one. */
  operation: string
  kind: CallKind
  statements: number
}

export interface ShardObserver {
  before?(call: ShardCall): void | Promise<void>
  after?(call: ShardCall, ms: number, error: unknown): void | Promise<void>
}

/** The state that all routers of a request share. */
export interface Routing {
  holder: MapHolder
  request: MapRequest
  shards: Pick<ReadonlyMap<string, D1Database>, 'get' | 'has'>
  clock: Clock
  random: Random
  /** The invocation's time. No call of a shard starts after its end. */
  time?: TimeBudget
  /** The newest epoch that the client knows. */
  atLeastEpoch: number
  observer: ShardObserver
  /** Plain reads go to replicas. Without it, every call goes to the primary. */
  replicas?: Replicas
}

export interface RouteOptions {
  keyspace: Keyspace
  /** `exact`: linearizable, from the primary. `lease`: bounded by the map's lease. */
  read: 'lease' | 'exact'
  /** The batch may be applied twice without harm, so it is sent again if its answer is lost. */
  idempotent: boolean
  operation: string
  /** Sent in every batch that writes, directly after the guard. It aborts the batch if the condition does not hold. */
  mustHold?: Sql
}

/** With full jitter, these take about half a second. */
const FENCED_TRIES_BEFORE_ASKING = 6

/** The map to retry with after a slot's refusal, or null if the budget is used up. */
export async function mapAfter(
  { clock, holder, request, random, atLeastEpoch }: Routing,
  code: SlotRefusalCode,
  { map, attempt, deadline }: { map: ShardMap; attempt: number; deadline: number },
): Promise<ShardMap | null> {
  const leftMs = () => deadline - clock.now()
  if (leftMs() <= 0) return null
  // After this long, the slot may already be writable at its next owner although the source is not retired yet.
  if (code === 'SLOT_NOT_OWNED' || attempt >= FENCED_TRIES_BEFORE_ASKING) {
    const newer = await holder.newerThan(map.epoch, request)
    if (newer) return newer
    // Waiting for a directory that does not answer uses up the budget.
    if (leftMs() <= 0) return null
  }
  const waitMs = backoffMs(random, attempt, limits.routeBackoffBaseMs, limits.routeBackoffCapMs)
  await clock.sleep(Math.min(leftMs(), Math.max(1, waitMs)))
  return (await holder.current(request, atLeastEpoch)).map
}

/** The map, or a newer one if it lacks the keyspace. Null if none has it within the budget. */
export async function mapWith(
  routing: Routing,
  keyspace: Keyspace,
  given: ShardMap,
  deadline: number,
): Promise<ShardMap | null> {
  let map: ShardMap | null = given
  for (let attempt = 0; map && !map.has(keyspace); attempt++)
    map = await mapAfter(routing, 'SLOT_NOT_OWNED', { map, attempt, deadline })
  return map
}

/** The held map. If it lacks the keyspace, waits for one that has it. Throws KEYSPACE_UNASSIGNED after the deadline. */
export async function heldWith(routing: Routing, keyspace: Keyspace, deadline: number): Promise<HeldMap> {
  const { holder, request, atLeastEpoch } = routing
  const held = await holder.current(request, atLeastEpoch)
  if (held.map.has(keyspace)) return held
  if (!(await mapWith(routing, keyspace, held.map, deadline))) throw unassigned(keyspace)
  return holder.current(request, atLeastEpoch)
}

/** Makes one call of a shard, which has `ms` to answer. The observer is called before and after it. */
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

export async function attempt<R>(body: () => Promise<R>): Promise<{ value: R } | { error: unknown }> {
  try {
    return { value: await body() }
  } catch (error) {
    return { error }
  }
}
