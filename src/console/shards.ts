import type { z } from '@hono/zod-openapi'
import { inTime } from '../core/clock.ts'
import { BanyanError, hasCode } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { PlannedMove } from '../resharding/move-planning.ts'
import { formatRanges } from '../resharding/record.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import { ShardMap, type ShardState } from '../sharding/shard-map.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import type { ShardFailure } from '../sharding/shards.ts'
import type { OperatorContext } from './context.ts'
import { toMove } from './moves.ts'
import type { Plan, rebalanceShape, Shard, ShardList, StartedMoves } from './shapes.ts'
import { rangesParameter, type UserSample, userCount, userRanges, userSampleSql } from './user-counts.ts'

type ShardContext = Pick<OperatorContext, 'shards' | 'shardLoad' | 'directory' | 'clock' | 'log' | 'usersTable'>

/** How far from the mean a shard may stay where that isn't said: bytes are never equal, slots can be. */
const tolerances = { slots: 0, bytes: 0.1 }

/**
 * Each shard with its slots, size and users (estimated where there are many). What the directory knows is always there;
 * size and users are null of a shard that doesn't answer.
 */
export async function listShards(operators: ShardContext): Promise<ShardList> {
  const { epoch, items } = await askShards(operators, () => true)
  return { epoch, items }
}

/** The map's shards. Those that are wanted are asked for their size and users, until 15 s are over. */
async function askShards(
  { shards, shardLoad, directory, clock, log, usersTable }: ShardContext,
  isWanted: (id: string) => boolean,
): Promise<ShardList & { failed: ShardFailure[] }> {
  const map = new ShardMap((await directory.map()).map)
  const until = clock.now() + limits.shardNumbersMs
  const ranges = new Map(userRanges(map).map((own, index) => [map.shards[index]!.id, own]))
  const { values, failed } = await shards.by(map).each('users', async ({ id, run }) => {
    if (!isWanted(id)) return { ...unknownNumbers, id }
    const own = ranges.get(id)!
    const answer = usersTable
      ? run<UserSample>(userSampleSql(usersTable), rangesParameter(own), limits.userSampleRowsMax)
      : run<UserSample>('SELECT 1 WHERE false')
    const { results, meta } = await inTime(clock, Math.max(0, until - clock.now()), answer, tooLate)
    const [sample] = results
    const counted = sample ? userCount(sample, own) : { users: null, isEstimated: false }
    return { id, users: counted.users, usersEstimated: counted.isEstimated, bytes: meta.size_after }
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
export async function joinShard(operators: ShardContext, binding: string, retry: RetryKey | null): Promise<Shard> {
  try {
    const { shard } = await operators.directory.joinShard(binding, retry)
    return await getShard(operators, shard.id)
  } catch (error) {
    if (!hasCode(error, 'SHARD_UNKNOWN')) throw error
    throw new BanyanError('INVALID', error.message, { errors: [{ pointer: '/binding', detail: error.message }] })
  }
}

/** Throws NOT_FOUND, SHARD_IN_MOVE. */
export async function setShardState(operators: ShardContext, id: string, state: ShardState): Promise<Shard> {
  await operators.directory.setShardState(id, state)
  return getShard(operators, id)
}

/** Only this one is asked: what is done to a shard doesn't depend on the others. */
async function getShard(operators: ShardContext, id: string): Promise<Shard> {
  const { items } = await askShards(operators, (wanted) => wanted === id)
  const shard = items.find((item) => item.id === id)
  if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: banyan shards list`)
  return shard
}

type Spread = { plan: Plan } | StartedMoves

/** Plans what makes the shards even; and unless it is a dry run, starts it. */
export async function rebalance(
  operators: ShardContext,
  request: z.infer<typeof rebalanceShape>,
  retry: RetryKey | null,
): Promise<Spread> {
  const { by, dryRun } = request
  // Bytes are known of shards, not of keyspaces: those of the users are by far the most.
  const spread = request.keyspace ? [request.keyspace] : by === 'bytes' ? (['users'] as const) : keyspaces
  const bytes = by === 'bytes' ? await bytesOf(operators) : null
  const tolerance = request.tolerance ?? tolerances[by]
  const { planned, held, moves } = await operators.directory.rebalance(
    { keyspaces: [...spread], tolerance, bytes, dryRun },
    retry,
  )
  return dryRun ? { plan: { moves: planned.map(toPlanned), held } } : { moves: moves.map(toMove), held }
}

/** Throws NOT_FOUND, SHARD_NOT_SERVING. */
export async function drainShard(
  { directory }: ShardContext,
  id: string,
  retry: RetryKey | null,
): Promise<StartedMoves> {
  const { moves, held } = await directory.drainShard(id, retry)
  return { moves: moves.map(toMove), held }
}

/** Throws SHARD_UNAVAILABLE naming every shard that doesn't answer: none is taken for empty. */
async function bytesOf(operators: ShardContext): Promise<Record<string, number>> {
  const { items, failed } = await askShards(operators, () => true)
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
