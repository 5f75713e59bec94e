import type { TimeBudget } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
  type DirectoryAnswer,
  type DirectoryCalls,
  type DirectoryClient,
  type DirectoryOperation,
  type DirectoryOperations,
  directoryOperationNames,
  directoryOperations,
  type Refusal,
  type Reply,
} from '../resharding/directory-operations.ts'
import { askDirectory, lacksMethod, readMap } from './directory-calls.ts'
import type { Engine } from './engine.ts'

export interface DirectoryAccess {
  engine: Pick<Engine, 'directory'>
  /** The request's time. No call starts after its end. */
  time: TimeBudget
  /** Called once per call. */
  count(): void
}

/**
 * The directory for one request. Each call has its time limit, is counted, and throws the refusal's own error. A call
 * without an answer throws DIRECTORY_UNAVAILABLE if it reads and OUTCOME_UNKNOWN if it writes (`directoryOperations`).
 */
export function directoryClient(access: DirectoryAccess): DirectoryClient {
  const operation = <K extends DirectoryOperation>(name: K) => {
    return (...given: Parameters<DirectoryOperations[K]>) =>
      carriedOut<DirectoryAnswer<K>>(access, name, (directory: DirectoryCalls) => directory[name](...given))
  }
  const client = Object.fromEntries(directoryOperationNames.map((name) => [name, operation(name)])) as DirectoryClient
  return { ...client, map: () => carriedOut(access, 'map', readMap) }
}

async function carriedOut<T>(
  access: DirectoryAccess,
  name: DirectoryOperation,
  ask: (directory: DirectoryOperations) => Promise<Reply<T>>,
): Promise<T> {
  const { kind, limit } = directoryOperations[name]
  const reply = kind === 'read' ? await read(access, limits[limit], ask) : await written(access, limits[limit], ask)
  if (isRefusal(reply)) throw errorOf(reply)
  return reply
}

type Ask<T> = (directory: DirectoryOperations) => Promise<T>

async function read<T>({ engine, time, count }: DirectoryAccess, ms: number, ask: Ask<T>): Promise<T> {
  try {
    if (time.isSpent) throw new Error('the request has used up its time')
    count()
    return await askDirectory(engine, ms, ask)
  } catch (error) {
    if (lacksMethod(error)) throw older(error)
    const detail = `The directory does not answer (${messageOf(error)}). Try again.`
    throw new BanyanError('DIRECTORY_UNAVAILABLE', detail, { cause: error, retryAfterSeconds: 1 })
  }
}

/** If there is no answer, the directory may still have recorded the change. */
async function written<T>({ engine, time, count }: DirectoryAccess, ms: number, ask: Ask<T>): Promise<T> {
  if (time.isSpent)
    throw new BanyanError('DIRECTORY_UNAVAILABLE', 'The request has used up its time. Nothing was recorded. Try again.')
  try {
    count()
    return await askDirectory(engine, ms, ask)
  } catch (error) {
    if (lacksMethod(error)) throw older(error)
    const detail = `The directory did not answer (${messageOf(error)}), so the change may have been recorded. See: npm run banyan -- moves list`
    throw new BanyanError('OUTCOME_UNKNOWN', detail, { cause: error })
  }
}

/** Durable Objects are replaced some seconds after the Worker. */
const older = (cause: unknown) =>
  new BanyanError(
    'DIRECTORY_UNAVAILABLE',
    'The directory still runs an older version, which lacks this operation. Nothing was changed. Try again in a minute.',
    { cause, retryAfterSeconds: 5 },
  )

const isRefusal = (reply: unknown): reply is Refusal =>
  typeof reply === 'object' && reply !== null && 'code' in reply && 'detail' in reply

const errorOf = ({ code, detail, retryAfterSeconds }: Refusal) =>
  new BanyanError(code, detail, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
