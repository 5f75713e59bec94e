import type { z } from '@hono/zod-openapi'
import { BanyanError, hasCode } from '../core/errors.ts'
import type { MoveWishFrom } from '../resharding/move-ledger.ts'
import { formatRanges } from '../resharding/record.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import type { ShardState } from '../sharding/shard-map.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import type { Tiers } from '../web/context.ts'
import type { moveShape } from './move-routes.ts'
import { toMove } from './moves.ts'
import type { planShape, rebalanceShape, shardShape } from './shard-routes.ts'

type Shard = z.infer<typeof shardShape>
type Move = z.infer<typeof moveShape>
type ShardTiers = Pick<Tiers, 'shards' | 'shardLoad' | 'fleet'>

/** How far from the mean a shard may stay where that isn't said: bytes are never equal, slots can be. */
const tolerances = { slots: 0, bytes: 0.1 }

/** Each shard with its slots, size and users. Throws SHARD_UNAVAILABLE naming every shard that doesn't answer. */
export async function listShards({ shards, shardLoad, fleet }: ShardTiers): Promise<{ epoch: number; items: Shard[] }> {
  const map = await fleet.map()
  const { values, failed } = await shards.by(map).each('users', async ({ id, run, ownedHere }) => {
    const { results, meta } = await run<{ users: number }>(
      `SELECT count(*) AS users FROM profiles WHERE ${ownedHere('id')}`,
    )
    return { id, users: results[0]!.users, bytes: meta.size_after }
  })
  if (failed.length > 0)
    throw new BanyanError('SHARD_UNAVAILABLE', failed.map(({ shard, error }) => `${shard}: ${error}`).join('; '))
  const slots = map.slotCounts('users')
  const items = map.shards.map(({ id, binding, state }, index) => {
    const { users, bytes } = values.find((value) => value.id === id)!
    return { id, binding, state, slots: slots[index]!, bytes, users, ...shardLoad(id) }
  })
  return { epoch: map.epoch, items }
}

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

async function getShard(tiers: ShardTiers, id: string): Promise<Shard> {
  const { items } = await listShards(tiers)
  const shard = items.find((item) => item.id === id)
  if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: banyan shards list`)
  return shard
}

export type Spread = { plan: z.infer<typeof planShape> } | { moves: Move[]; held: number }

/** Plans what makes the shards even; and unless it is a dry run, starts it. */
export async function rebalance(
  tiers: ShardTiers,
  wish: z.infer<typeof rebalanceShape>,
  retry: RetryKey | null,
): Promise<Spread> {
  const { by, dryRun } = wish
  // Bytes are known of shards, not of keyspaces: those of the users are by far the most.
  const spread = wish.keyspace ? [wish.keyspace] : by === 'bytes' ? (['users'] as const) : keyspaces
  const bytes = by === 'bytes' ? await bytesOf(tiers) : null
  const tolerance = wish.tolerance ?? tolerances[by]
  const { planned, held, moves } = await tiers.fleet.rebalance(
    { keyspaces: [...spread], tolerance, bytes, dryRun },
    retry,
  )
  return dryRun ? { plan: { moves: planned.map(toPlanned), held } } : { moves: moves.map(toMove), held }
}

/** Throws NOT_FOUND, SHARD_NOT_SERVING. */
export async function drainShard(
  { fleet }: ShardTiers,
  id: string,
  retry: RetryKey | null,
): Promise<{ moves: Move[]; held: number }> {
  const { moves, held } = await fleet.drain(id, retry)
  return { moves: moves.map(toMove), held }
}

async function bytesOf(tiers: ShardTiers): Promise<Record<string, number>> {
  const { items } = await listShards(tiers)
  return Object.fromEntries(items.map(({ id, bytes }) => [id, bytes]))
}

const toPlanned = ({ keyspace, source, target, ranges }: MoveWishFrom) => ({
  keyspace,
  source,
  target,
  slots: formatRanges(ranges),
})
