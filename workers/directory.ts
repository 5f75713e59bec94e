import { messageOf } from '../src/core/errors.ts'
import { decodeMap } from '../src/sharding/shard-map.ts'
import type { DirectoryObject, DirectoryReply } from './coordinator.ts'
import type { Env } from './env.ts'

const DIRECTORY_NAME = 'directory'

/** The one directory of this deployment. With the types of the object's own methods: in RPC's, tuples are arrays. */
export const directoryOf = (env: Env) =>
  env.DIRECTORY.get(env.DIRECTORY.idFromName(DIRECTORY_NAME)) as unknown as DurableObjectStub &
    Pick<
      DirectoryObject,
      | 'map'
      | 'encodedMap'
      | 'movesToWake'
      | 'planMoves'
      | 'steerMove'
      | 'listMoves'
      | 'findMove'
      | 'openMoves'
      | 'changeMove'
      | 'reportMove'
      | 'joinShard'
      | 'setShardState'
      | 'removeShard'
      | 'rebalance'
      | 'drainShard'
    >

/** The map, out of the encoded one that the directory keeps. An object of the version before encodes it for each caller. */
export async function readMap(directory: Pick<DirectoryObject, 'map' | 'encodedMap'>): Promise<DirectoryReply> {
  const reply = await orOlder(
    () => directory.encodedMap(),
    () => directory.map(),
  )
  return 'encoded' in reply ? { map: decodeMap(reply) } : reply
}

/** Asks an object that may be of the version before, which does not know the method: then asks as that version did. */
export async function orOlder<T, U>(ask: () => Promise<T>, askOlder: () => Promise<U>): Promise<T | U> {
  try {
    return await ask()
  } catch (error) {
    if (!/does not implement/.test(messageOf(error))) throw error
    return askOlder()
  }
}
