import { eachAtMost, windowOf } from '../src/core/bounded.ts'
import { systemClock, TimeBudget } from '../src/core/clock.ts'
import { BanyanError, messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import type { Log } from '../src/core/log.ts'
import type { MoveChoice } from '../src/resharding/record.ts'
import { ShardMap } from '../src/sharding/shard-map.ts'
import type { MoveOperations, ShardOperations } from '../src/web/context.ts'
import type { Refusal, Reply } from './coordinator.ts'
import { askDirectory, askMover, type DirectoryCalls, type MoverCalls, orOlder, readMap } from './directory.ts'
import type { Env } from './env.ts'

export interface DirectoryAccess {
  env: Env
  log: Log
  /** The request's: no call begins after its end. */
  time: TimeBudget
  /** Called once a call. */
  count(): void
}

/** The directory's records of moves, by RPC. */
export function directoryMoves(access: DirectoryAccess): MoveOperations {
  return {
    list: (page) => read(access, (directory) => directory.listMoves(page)),
    find: (id) => read(access, (directory) => directory.findMove(id)),
    plan: async (request, retry) =>
      (await written(access, limits.directoryPlanMs, (directory) => directory.planMoves(request, retry))).moves,
    async steer(id, verb, retry) {
      const { move } = await written(access, limits.directoryMs, (directory) => directory.steerMove(id, verb, retry))
      await wakeMovers(access, [id], Math.min(access.time.leftMs, limits.moverWakeMs))
      return move
    },
    sides: (id) => asked(access, id, (mover) => mover.sidesOfMove(id)),
    async resolve(id, choice) {
      const { isSafe, choices } = await asked(access, id, (mover) => mover.resolveMove(id, choice))
      if (!isSafe) throw unsafe(id, choice, choices)
      if (choice === 'undo') return this.steer(id, 'abort', null)
      return (await read(access, (directory) => directory.findMove(id)))!
    },
  }
}

/** Asks the move's own object, which reads its shards. An object of the previous version does not know the call. */
async function asked<T>(
  { env, time }: DirectoryAccess,
  id: string,
  ask: (mover: MoverCalls) => Promise<T | null>,
): Promise<T> {
  let answer: T | null
  try {
    answer = await askMover(env, id, Math.min(time.leftMs, limits.moverAskMs), ask)
  } catch (error) {
    const detail = `The shards of move ${id} can't be asked now: ${messageOf(error)}. Try again.`
    throw new BanyanError('SHARD_UNAVAILABLE', detail, {
      cause: error,
      retryAfterSeconds: limits.moveRetryAfterSeconds,
    })
  }
  if (answer === null) throw new BanyanError('NOT_FOUND', `There is no move "${id}". See: banyan moves list`)
  return answer
}

function unsafe(id: string, choice: MoveChoice, choices: MoveChoice[]): BanyanError {
  const safe = choices.length === 0 ? 'No choice is safe now' : `Safe now: ${choices.join(', ')}`
  const detail = `"${choice}" is not safe for move ${id} now. ${safe}. See: banyan moves resolve ${id}`
  return new BanyanError('MOVE_STATE', detail, { errors: [{ pointer: '/choice', detail: safe }] })
}

/** Which shards there are, by RPC. */
export function directoryFleet(access: DirectoryAccess): ShardOperations {
  const { directoryMs, directoryPlanMs } = limits
  return {
    async map() {
      const reply = await read(access, readMap)
      if ('map' in reply) return new ShardMap(reply.map)
      throw refusal(reply)
    },
    join: async (binding, retry) =>
      (await written(access, directoryPlanMs, (directory) => directory.joinShard(binding, retry))).shard,
    setState: async (id, state) =>
      (await written(access, directoryMs, (directory) => directory.setShardState(id, state))).shard,
    remove: async (id) => void (await written(access, directoryMs, (directory) => directory.removeShard(id))),
    rebalance: (request, retry) => written(access, directoryPlanMs, (directory) => directory.rebalance(request, retry)),
    drain: (id, retry) => written(access, directoryPlanMs, (directory) => directory.drainShard(id, retry)),
  }
}

/**
 * Cron's part: wakes the moves that may be asleep though they have something to do. The directory has woken them, but a
 * wake-up, or an alarm, may be lost. An object of the version before names all open moves: consecutive turns go round them.
 */
export async function wakeOpenMoves(env: Env, log: Log, turn: number): Promise<number> {
  const asleep = await askDirectory(env, limits.directoryMs, (directory) =>
    orOlder(
      () => directory.movesToWake(limits.cronMovesMax),
      async () => {
        const open = await directory.openMoves()
        return windowOf(open, { turn, size: limits.cronMovesMax }).map(({ id }) => id)
      },
    ),
  )
  return wakeMovers({ env, log }, asleep, limits.cronWakeMs)
}

/** Wakes the movers of these moves, within `ms` in all. The cron wakes those that fail. Resolves to how many were woken. */
export async function wakeMovers(
  { env, log }: Pick<DirectoryAccess, 'env' | 'log'>,
  ids: string[],
  ms: number,
): Promise<number> {
  const time = new TimeBudget(systemClock, ms)
  let woken = 0
  await eachAtMost(limits.moversAtOnceMax, ids, async (id) => {
    try {
      if (time.isSpent) throw new Error('no time is left')
      await askMover(env, id, Math.min(time.leftMs, limits.moverWakeMs), (mover) => mover.wake(id))
      woken++
    } catch (error) {
      log.warn('move.not-woken', { move: id, reason: messageOf(error) })
    }
  })
  return woken
}

type Ask<T> = (directory: DirectoryCalls) => Promise<T>

async function read<T>({ env, time, count }: DirectoryAccess, ask: Ask<T>): Promise<T> {
  try {
    if (time.isSpent) throw new Error('the request has used up its time')
    count()
    return await askDirectory(env, limits.directoryMs, ask)
  } catch (error) {
    const detail = `The directory does not answer: ${messageOf(error)}`
    throw new BanyanError('DIRECTORY_UNAVAILABLE', detail, { cause: error, retryAfterSeconds: 1 })
  }
}

/** A refusal becomes the error that it was; when no answer comes, the directory may have recorded it all the same. */
async function written<T extends object>(
  { env, time, count }: DirectoryAccess,
  ms: number,
  ask: Ask<Reply<T>>,
): Promise<T> {
  if (time.isSpent)
    throw new BanyanError('DIRECTORY_UNAVAILABLE', 'The request has used up its time. Nothing was recorded. Try again.')
  let reply: Reply<T>
  try {
    count()
    reply = await askDirectory(env, ms, ask)
  } catch (error) {
    const detail = `The directory did not answer (${messageOf(error)}). See: banyan moves list`
    throw new BanyanError('OUTCOME_UNKNOWN', detail, { cause: error })
  }
  if (!('code' in reply)) return reply
  throw refusal(reply)
}

const refusal = ({ code, detail, retryAfterSeconds }: Refusal) =>
  new BanyanError(code, detail, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
