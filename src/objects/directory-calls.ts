import { inTime, systemClock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { DirectoryOperations, Reply } from '../resharding/directory-operations.ts'
import type { MoverOperations } from '../resharding/mover-operations.ts'
import { decodeMap, type MapWire } from '../sharding/shard-map.ts'
import type { Engine } from './engine.ts'

const DIRECTORY_NAME = 'directory'

/** A name that separates the data centre's copies of the map from those of another deployment. */
export const directoryName = ({ directory }: Pick<Engine, 'directory'>): string =>
  directory.idFromName(DIRECTORY_NAME).toString()

/** Calls the directory once. Rejects if there is no answer after `ms`. The call may still take effect. */
export function askDirectory<T>(
  engine: Pick<Engine, 'directory'>,
  ms: number,
  ask: (directory: DirectoryOperations) => Promise<T>,
): Promise<T> {
  return inTime(systemClock, ms, ask(directoryStub(engine, ms)))
}

/** The one directory of this deployment. The runtime retries a broken call for at most `ms`. */
export const directoryStub = ({ directory }: Pick<Engine, 'directory'>, ms: number): DirectoryOperations =>
  directory.get(directory.idFromName(DIRECTORY_NAME), { retry: retriesIn(ms) }) as DirectoryOperations

/** The map, decoded from the directory's encoded one. An object of the previous version encodes it for each caller. */
export async function readMap(
  directory: Pick<DirectoryOperations, 'map' | 'encodedMap'>,
): Promise<Reply<{ map: MapWire }>> {
  const reply = await orOlder(
    () => directory.encodedMap(),
    () => directory.map(),
  )
  return 'encoded' in reply ? { map: decodeMap(reply) } : reply
}

/** Calls an object that may be of the previous version. If it lacks the method, calls it as that version did. */
export async function orOlder<T, U>(ask: () => Promise<T>, askOlder: () => Promise<U>): Promise<T | U> {
  try {
    return await ask()
  } catch (error) {
    if (!lacksMethod(error)) throw error
    return askOlder()
  }
}

/** True if the object is of a version without the method, so the call had no effect. */
export const lacksMethod = (error: unknown): boolean => /does not implement/.test(messageOf(error))

/** Calls a move's mover once. Rejects if there is no answer after `ms`. The call may still take effect. */
export function askMover<T>(
  { mover }: Pick<Engine, 'mover'>,
  moveId: string,
  ms: number,
  ask: (mover: MoverOperations) => Promise<T>,
): Promise<T> {
  const stub = mover.get(mover.idFromName(moveId), { retry: retriesIn(ms) }) as MoverOperations
  return inTime(systemClock, ms, ask(stub))
}

/**
 * By default, the runtime retries a failed call of a Durable Object 4 times, for 10 s. A retry that starts after the
 * caller has given up is useless. A call whose method may have started is retried only if the method is marked
 * `retryable` (directory-object.ts). A runtime that does not know the option ignores it.
 */
const retriesIn = (ms: number) => ({ maxRetries: limits.directoryRetriesMax, timeoutMs: Math.max(1, Math.floor(ms)) })
