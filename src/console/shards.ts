import type { z } from '@hono/zod-openapi'
import { inTime } from '../core/clock.ts'
import { BanyanError, hasCode } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { zip } from '../core/zip.ts'
import type { PlannedMove } from '../resharding/move-planning.ts'
import { formatRanges } from '../resharding/record.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import type { ShardFailure } from '../sharding/scatter.ts'
import { ShardMap, type ShardState } from '../sharding/shard-map.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import { spansByShard, spansParameter } from '../sharding/slot-spans.ts'
import type { OperatorContext } from './context.ts'
import { toMove } from './moves.ts'
import type { Plan, rebalanceShape, Shard, ShardList, StartedMoves } from './shapes.ts'
import { type UserSample, userCount, userSampleSql } from './user-counts.ts'

type ShardContext = Pick<OperatorContext, 'shards' | 'shardLoad' | 'directory' | 'clock' | 'log' | 'usersTable'>

/** The default tolerance: slots can be equal, bytes never are. */
const tolerances = { slots: 0, bytes: 0.1 }

/**
 * Each shard with its slots, size and users (estimated if there are many). Size and users are null if the shard does
 * not answer. The directory knows the rest.
 */
export async function listShards(operators: ShardContext): Promise<ShardList> {
  const { epoch, items } = await askShards(operators, () => true)
  return { epoch, items }
}

/** The map's shards. Asks the wanted ones for size and users, for at most 15 s. */
async function askShards(
  { shards, shardLoad, directory, clock, log, usersTable }: ShardContext,
  isWanted: (id: string) => boolean,
): Promise<ShardList & { failed: ShardFailure[] }> {
  const map = new ShardMap((await directory.map()).map)
  const until = clock.now() + limits.shardNumbersMs
  const ranges = new Map(zip(map.shards, spansByShard(map, 'users')).map(([{ id }, own]) => [id, own]))
  const { values, failed } = await shards.by(map).each('users', async ({ id, run }) => {
    if (!isWanted(id)) return { ...unknownNumbers, id }
    const own = present(ranges.get(id), `the slots of ${id}`)
    const answer = usersTable
      ? run<UserSample>(userSampleSql(usersTable), spansParameter(own), limits.userSampleRowsMax)
      : run<UserSample>('SELECT 1 WHERE false')
    const { results, meta } = await inTime(clock, Math.max(0, until - clock.now()), answer, tooLate)
    const [sample] = results
    const counted = sample ? userCount(sample, own) : { users: null, isEstimated: false }
    return { id, users: counted.users, usersEstimated: counted.isEstimated, bytes: meta.size_after }
  })
  for (const { shard, error } of failed) log.warn('shard.error', { shard, operation: 'shards.list', reason: error })
  const items = zip(map.shards, map.slotCounts('users')).map(([{ id, binding, state }, slots]) => {
    const numbers = values.find((value) => value.id === id) ?? unknownNumbers
    return { id, binding, state, slots, ...numbers, ...shardLoad(id) }
  })
  return { epoch: map.epoch, items, failed }
}

const unknownNumbers = { users: null, usersEstimated: false, bytes: null }

const tooLate = () => new BanyanError('SHARD_UNAVAILABLE', `no answer within ${limits.shardNumbersMs / 1_000} s`)

/** Registers a bound, empty, migrated database. Throws INVALID if it is not bound, and as `Fleet.join` does. */
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

/** Asks only this shard, because an operation on it must not depend on the others. */
async function getShard(operators: ShardContext, id: string): Promise<Shard> {
  const { items } = await askShards(operators, (wanted) => wanted === id)
  const shard = items.find((item) => item.id === id)
  if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: npm run banyan -- shards list`)
  return shard
}

type Spread = { plan: Plan } | StartedMoves

/** Plans the moves that make the shards even, and starts them unless it is a dry run. */
export async function rebalance(
  operators: ShardContext,
  request: z.infer<typeof rebalanceShape>,
  retry: RetryKey | null,
): Promise<Spread> {
  const { by, dryRun } = request
  // Sizes are known per shard, not per keyspace. The users' rows are by far the largest part.
  const spread = request.keyspace ? [request.keyspace] : by === 'bytes' ? (['users'] as const) : keyspaces
  const bytes = by === 'bytes' ? await bytesOf(operators) : null
  const tolerance = request.tolerance ?? tolerances[by]
  const { planned, held, moves } = await operators.directory.rebalance(
    { keyspaces: [...spread], tolerance, bytes, dryRun, endsPlacements: request.keyspace !== undefined },
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

/** Throws SHARD_UNAVAILABLE with the name of every shard that does not answer, because it must not count as empty. */
async function bytesOf(operators: ShardContext): Promise<Record<string, number>> {
  const { items, failed } = await askShards(operators, () => true)
  if (failed.length > 0) throw notAnswering(failed)
  return Object.fromEntries(items.flatMap(({ id, bytes }) => (bytes === null ? [] : [[id, bytes]])))
}

/** SHARD_UNAVAILABLE with the name of every shard that did not answer. */
export function notAnswering(failed: ShardFailure[]): BanyanError {
  const named = failed.map(({ shard, error }) => `${shard} (${error})`).join(', ')
  return new BanyanError('SHARD_UNAVAILABLE', `Not all shards answer: ${named}. Try again when they do.`)
}

const toPlanned = ({ keyspace, source, target, ranges }: PlannedMove) => ({
  keyspace,
  source,
  target,
  slots: formatRanges(ranges),
})
