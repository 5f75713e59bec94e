import { inTime, systemClock } from '../src/core/clock.ts'
import { messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import { decodeMap } from '../src/sharding/shard-map.ts'
import type { DirectoryObject, DirectoryReply, MoverObject } from './coordinator.ts'
import type { Env } from './env.ts'

const DIRECTORY_NAME = 'directory'

/** The object's own methods, with their types: in RPC's, tuples are arrays. */
export type DirectoryCalls = Pick<
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

/** The name by which the data centre's copies of the map are told from another deployment's. */
export const directoryName = (env: Env): string => env.DIRECTORY.idFromName(DIRECTORY_NAME).toString()

/** One call of the directory; rejects when it has no answer after `ms`, and may have its effect nevertheless. */
export function askDirectory<T>(env: Env, ms: number, ask: (directory: DirectoryCalls) => Promise<T>): Promise<T> {
  return inTime(systemClock, ms, ask(directoryStub(env, ms)))
}

/** The one directory of this deployment. The runtime repeats a broken call for at most `ms`. */
export const directoryStub = (env: Env, ms: number): DirectoryCalls =>
  env.DIRECTORY.get(env.DIRECTORY.idFromName(DIRECTORY_NAME), { retry: retriesIn(ms) }) as unknown as DirectoryCalls

/** The map, out of the encoded one that the directory keeps. An object of the version before encodes it for each caller. */
export async function readMap(directory: Pick<DirectoryCalls, 'map' | 'encodedMap'>): Promise<DirectoryReply> {
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

export type MoverCalls = Pick<MoverObject, 'wake' | 'sidesOfMove' | 'resolveMove'>

/** One call of the mover of a move; rejects when it has no answer after `ms`, and may have its effect nevertheless. */
export function askMover<T>(env: Env, moveId: string, ms: number, ask: (mover: MoverCalls) => Promise<T>): Promise<T> {
  const stub = env.MOVER.get(env.MOVER.idFromName(moveId), { retry: retriesIn(ms) })
  return inTime(systemClock, ms, ask(stub as unknown as MoverCalls))
}

/**
 * The runtime repeats a failed call of a Durable Object by itself: 4 times, for 10 s, if nothing is said. A retry that
 * starts after the caller has given up is useless. It repeats a call whose method may have begun only where the method
 * is marked `retryable` (workers/coordinator.ts). A runtime that does not know the option ignores it.
 */
const retriesIn = (ms: number) => ({ maxRetries: limits.directoryRetriesMax, timeoutMs: Math.max(1, Math.floor(ms)) })
