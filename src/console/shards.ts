import type { z } from '@hono/zod-openapi'
import { BanyanError } from '../core/errors.ts'
import type { Tiers } from '../web/context.ts'
import type { shardShape } from './routes.ts'

type Shard = z.infer<typeof shardShape>

/** Each shard with its slots, size and users. Throws SHARD_UNAVAILABLE naming every shard that doesn't answer. */
export async function listShards({
  shards,
  shardLoad,
}: Pick<Tiers, 'shards' | 'shardLoad'>): Promise<{ epoch: number; items: Shard[] }> {
  const map = await shards.map()
  const { values, failed } = await shards.each('users', async ({ id, run, ownedHere }) => {
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
