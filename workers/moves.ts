import { eachAtMost, inTurn } from '../src/core/bounded.ts'
import { inTime, systemClock } from '../src/core/clock.ts'
import { BanyanError, messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import type { Log } from '../src/core/log.ts'
import { ShardMap } from '../src/sharding/shard-map.ts'
import type { Fleet, Moves } from '../src/web/context.ts'
import type { Refusal, Reply } from './coordinator.ts'
import { directoryOf, orOlder, readMap } from './directory.ts'
import type { Env } from './env.ts'

/** The directory's book of moves, by RPC. `count` is called once a call. */
export function directoryMoves(env: Env, log: Log, count: () => void): Moves {
  const directory = () => {
    count()
    return directoryOf(env)
  }
  return {
    list: (page) => read(() => directory().listMoves(page)),
    find: (id) => read(() => directory().findMove(id)),
    plan: async (wish, retry) => (await written(() => directory().planMoves(wish, retry))).moves,
    async steer(id, verb, retry) {
      const { move } = await written(() => directory().steerMove(id, verb, retry))
      await wakeMovers(env, log, [id])
      return move
    },
  }
}

/** Which shards there are, by RPC. `count` is called once a call. */
export function directoryFleet(env: Env, count: () => void): Fleet {
  const directory = () => {
    count()
    return directoryOf(env)
  }
  return {
    async map() {
      const reply = await read(() => readMap(directory()))
      if ('map' in reply) return new ShardMap(reply.map)
      throw refusal(reply)
    },
    join: async (binding, retry) => (await written(() => directory().joinShard(binding, retry))).shard,
    setState: async (id, state) => (await written(() => directory().setShardState(id, state))).shard,
    remove: async (id) => void (await written(() => directory().removeShard(id))),
    rebalance: (wish, retry) => written(() => directory().rebalance(wish, retry)),
    drain: (id, retry) => written(() => directory().drainShard(id, retry)),
  }
}

/**
 * Cron's part: wakes the moves that may be asleep though they have something to do. The directory has woken them, but a
 * wake-up, or an alarm, may be lost. An object of the version before names all open moves: consecutive turns go round them.
 */
export async function wakeOpenMoves(env: Env, log: Log, turn: number): Promise<number> {
  const asleep = await orOlder(
    () => directoryOf(env).movesToWake(limits.cronMovesMax),
    async () => {
      const open = await directoryOf(env).openMoves()
      return inTurn(open, { turn, size: limits.cronMovesMax }).map(({ id }) => id)
    },
  )
  return wakeMovers(env, log, asleep)
}

/** Wakes each move's mover. One that can't be woken now is cron's to wake. Resolves to how many were. */
export async function wakeMovers(env: Env, log: Log, ids: string[]): Promise<number> {
  let woken = 0
  const late = () => new Error(`no answer within ${limits.moverWakeMs} ms`)
  await eachAtMost(limits.moversAtOnceMax, ids, async (id) => {
    try {
      await inTime(systemClock, limits.moverWakeMs, env.MOVER.get(env.MOVER.idFromName(id)).wake(id), late)
      woken++
    } catch (error) {
      log.warn('move.not-woken', { move: id, reason: messageOf(error) })
    }
  })
  return woken
}

async function read<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    const detail = `The directory does not answer: ${messageOf(error)}`
    throw new BanyanError('DIRECTORY_UNAVAILABLE', detail, { cause: error })
  }
}

/** A refusal becomes the error that it was; when no answer comes, the directory may have recorded it all the same. */
async function written<T extends object>(ask: () => Promise<Reply<T>>): Promise<T> {
  let reply: Reply<T>
  try {
    reply = await ask()
  } catch (error) {
    const detail = `The directory did not answer (${messageOf(error)}). See: banyan moves list`
    throw new BanyanError('OUTCOME_UNKNOWN', detail, { cause: error })
  }
  if (!('code' in reply)) return reply
  throw refusal(reply)
}

const refusal = ({ code, detail, retryAfterSeconds }: Refusal) =>
  new BanyanError(code, detail, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
