import type { DirectoryObject } from './coordinator.ts'
import type { Env } from './env.ts'

const DIRECTORY_NAME = 'directory'

/** The one directory of this deployment. With the types of the object's own methods: in RPC's, tuples are arrays. */
export const directoryOf = (env: Env) =>
  env.DIRECTORY.get(env.DIRECTORY.idFromName(DIRECTORY_NAME)) as unknown as DurableObjectStub &
    Pick<
      DirectoryObject,
      | 'map'
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
