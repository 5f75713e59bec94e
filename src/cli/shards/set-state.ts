import type { OneShard, Shard } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { shardAt } from './requests.ts'

export async function setState(connection: Connection, id: string, state: Shard['state']): Promise<Output> {
  const answer = await connection.patch<OneShard>(shardAt(id), { state })
  return { json: answer, text: `${id} is ${state}. Every router learns it within LEASE_MS.` }
}
