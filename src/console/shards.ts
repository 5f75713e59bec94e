import type { z } from '@hono/zod-openapi'
import { inTime } from '../core/clock.ts'
import { BanyanError, hasCode } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { PlannedMove } from '../resharding/move-planning.ts'
import { formatRanges } from '../resharding/record.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import type { ShardState } from '../sharding/shard-map.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import type { ShardFailure } from '../sharding/shards.ts'
import type { Tiers } from '../web/context.ts'
import { toMove } from './moves.ts'
import type { Plan, rebalanceShape, Shard, ShardList, StartedMoves } from './shapes.ts'
import { rangesParameter, USER_SAMPLE, type UserSample, userCount, userRanges } from './user-counts.ts'

type ShardTiers = Pick<Tiers, 'shards' | 'shardLoad' | 'fleet' | 'clock' | 'log'>

/** How far from the mean a shard may stay where that isn't said: bytes are never equal, slots can be. */
const tolerances = { slots: 0, bytes: 0.1 }

/**
 * Each shard with its slots, size and users (estimated where there are many). What the directory knows is always there;
 * size and users are null of a shard that doesn't answer.
 */
export async function listShards(tiers: ShardTiers): Promise<ShardList> {
  const { epoch, items } = await askShards(tiers, () => true)
  return { epoch, items }
}

/** The map's shards. Those that are wanted are asked for their size and users, until 15 s are over. */
async function askShards(
  { shards, shardLoad, fleet, clock, log }: ShardTiers,
  isWanted: (id: string) => boolean,
): Promise<ShardList & { failed: ShardFailure[] }> {
  const map = await fleet.map()
  const until = clock.now() + limits.shardNumbersMs
  const ranges = new Map(userRanges(map).map((own, index) => [map.shards[index]!.id, own]))
  const { values, failed } = await shards.by(map).each('users', async ({ id, run }) => {
    if (!isWanted(id)) return { ...unknownNumbers, id }
    const own = ranges.get(id)!
    const answer = run<UserSample>(USER_SAMPLE, rangesParameter(own), limits.userSampleRowsMax)
    const { results, meta } = await inTime(clock, Math.max(0, until - clock.now()), answer, tooLate)
    const { users, isEstimated } = userCount(results[0]!, own)
    return { id, users, usersEstimated: isEstimated, bytes: meta.size_after }
  })
  for (const { shard, error } of failed) log.warn('shard.error', { shard, operation: 'shards.list', reason: error })
  const slots = map.slotCounts('users')
  const items = map.shards.map(({ id, binding, state }, index) => {
    const numbers = values.find((value) => value.id === id) ?? unknownNumbers
    return { id, binding, state, slots: slots[index]!, ...numbers, ...shardLoad(id) }
  })
  return { epoch: map.epoch, items, failed }
}

const unknownNumbers = { users: null, usersEstimated: false, bytes: null }

const tooLate = () => new BanyanError('SHARD_UNAVAILABLE', `no answer within ${limits.shardNumbersMs / 1_000} s`)

/** Registers a bound, empty, migrated database. Throws INVALID where it isn't bound, and as `Fleet.join`. */
export async function joinShard(tiers: ShardTiers, binding: string, retry: RetryKey | null): Promise<Shard> {
  try {
    const { id } = await tiers.fleet.join(binding, retry)
    return await getShard(tiers, id)
  } catch (error) {
    if (!hasCode(error, 'SHARD_UNKNOWN')) throw error
    throw new BanyanError('INVALID', error.message, { errors: [{ pointer: '/binding', detail: error.message }] })
  }
}

/** Throws NOT_FOUND, SHARD_IN_MOVE. */
export async function setShardState(tiers: ShardTiers, id: string, state: ShardState): Promise<Shard> {
  await tiers.fleet.setState(id, state)
  return getShard(tiers, id)
}

/** Only this one is asked: what is done to a shard doesn't depend on the others. */
async function getShard(tiers: ShardTiers, id: string): Promise<Shard> {
  const { items } = await askShards(tiers, (wanted) => wanted === id)
  const shard = items.find((item) => item.id === id)
  if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: banyan shards list`)
  return shard
}

type Spread = { plan: Plan } | StartedMoves

/** Plans what makes the shards even; and unless it is a dry run, starts it. */
export async function rebalance(
  tiers: ShardTiers,
  request: z.infer<typeof rebalanceShape>,
  retry: RetryKey | null,
): Promise<Spread> {
  const { by, dryRun } = request
  // Bytes are known of shards, not of keyspaces: those of the users are by far the most.
  const spread = request.keyspace ? [request.keyspace] : by === 'bytes' ? (['users'] as const) : keyspaces
  const bytes = by === 'bytes' ? await bytesOf(tiers) : null
  const tolerance = request.tolerance ?? tolerances[by]
  const { planned, held, moves } = await tiers.fleet.rebalance(
    { keyspaces: [...spread], tolerance, bytes, dryRun },
    retry,
  )
  return dryRun ? { plan: { moves: planned.map(toPlanned), held } } : { moves: moves.map(toMove), held }
}

/** Throws NOT_FOUND, SHARD_NOT_SERVING. */
export async function drainShard({ fleet }: ShardTiers, id: string, retry: RetryKey | null): Promise<StartedMoves> {
  const { moves, held } = await fleet.drain(id, retry)
  return { moves: moves.map(toMove), held }
}

/** Throws SHARD_UNAVAILABLE naming every shard that doesn't answer: none is taken for empty. */
async function bytesOf(tiers: ShardTiers): Promise<Record<string, number>> {
  const { items, failed } = await askShards(tiers, () => true)
  if (failed.length > 0)
    throw new BanyanError('SHARD_UNAVAILABLE', failed.map(({ shard, error }) => `${shard}: ${error}`).join('; '))
  return Object.fromEntries(items.map(({ id, bytes }) => [id, bytes!]))
}

const toPlanned = ({ keyspace, source, target, ranges }: PlannedMove) => ({
  keyspace,
  source,
  target,
  slots: formatRanges(ranges),
})
