import { eachAtMost, inTurn } from '../src/core/bounded.ts'
import { BanyanError, messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import type { Log } from '../src/core/log.ts'
import type { MoveChoice, MoveRecord } from '../src/resharding/record.ts'
import { ShardMap } from '../src/sharding/shard-map.ts'
import type { Fleet, Moves } from '../src/web/context.ts'
import type { Refusal, Reply } from './coordinator.ts'
import { directoryOf } from './directory.ts'
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
    async plan(wish, retry) {
      const { moves } = await written(() => directory().planMoves(wish, retry))
      await wake(env, log, moves)
      return moves
    },
    async steer(id, verb, retry) {
      const { move } = await written(() => directory().steerMove(id, verb, retry))
      await wake(env, log, [move])
      return move
    },
    sides: (id) => asked(id, () => moverOf(env, id).sidesOfMove(id)),
    async resolve(id, choice) {
      const { isSafe, choices } = await asked(id, () => moverOf(env, id).resolveMove(id, choice))
      if (!isSafe) throw unsafe(id, choice, choices)
      if (choice === 'undo') return this.steer(id, 'abort', null)
      return (await read(() => directory().findMove(id)))!
    },
  }
}

const moverOf = (env: Env, id: string) => env.MOVER.get(env.MOVER.idFromName(id))

/** Asks the move's own object, which reads its shards. One of the version before doesn't know the call. */
async function asked<T>(id: string, ask: () => Promise<T | null>): Promise<T> {
  let answer: T | null
  try {
    answer = await ask()
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

/** Which shards there are, by RPC. `count` is called once a call. */
export function directoryFleet(env: Env, log: Log, count: () => void): Fleet {
  const directory = () => {
    count()
    return directoryOf(env)
  }
  return {
    async map() {
      const reply = await read(() => directory().map())
      if ('map' in reply) return new ShardMap(reply.map)
      throw refusal(reply)
    },
    join: async (binding, retry) => (await written(() => directory().joinShard(binding, retry))).shard,
    setState: async (id, state) => (await written(() => directory().setShardState(id, state))).shard,
    remove: async (id) => void (await written(() => directory().removeShard(id))),
    async rebalance(wish, retry) {
      const answer = await written(() => directory().rebalance(wish, retry))
      await wake(env, log, answer.moves)
      return answer
    },
    async drain(id, retry) {
      const answer = await written(() => directory().drainShard(id, retry))
      await wake(env, log, answer.moves)
      return answer
    },
  }
}

/** Cron's part: an alarm that was never set, or is lost, is set here. Consecutive turns go round all open moves. */
export async function wakeOpenMoves(env: Env, log: Log, turn: number): Promise<number> {
  const open = await directoryOf(env).openMoves()
  return wake(env, log, inTurn(open, { turn, size: limits.cronMovesMax }))
}

/** Wakes each one's mover. One that can't be woken now is cron's to wake: the move is recorded all the same. */
async function wake(env: Env, log: Log, moves: MoveRecord[]): Promise<number> {
  let woken = 0
  await eachAtMost(limits.moversAtOnceMax, moves, async ({ id }) => {
    try {
      await moverOf(env, id).wake(id)
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
