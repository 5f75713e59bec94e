import type { ShardList } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'

export const SHARDS = '/operator/v1/shards'
export const shardAt = (id: string): string => `${SHARDS}/${encodeURIComponent(id)}`

export const listShards = (connection: Pick<Connection, 'get'>): Promise<ShardList> => connection.get(SHARDS)

export const shardOperand = { name: 'ID', help: 'id of the shard, from shards list' }
