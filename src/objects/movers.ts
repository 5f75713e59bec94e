import { eachAtMost, windowOf } from '../core/bounded.ts'
import { systemClock, TimeBudget } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { MoverClient, MoverOperations } from '../resharding/mover-operations.ts'
import { askDirectory, askMover, orOlder } from './directory-calls.ts'
import type { Engine } from './engine.ts'

export interface MoverAccess {
  engine: Pick<Engine, 'mover'>
  log: Log
  /** The request's time. No call may last longer. */
  time: TimeBudget
}

/** The movers for one request. */
export function moverClient(access: MoverAccess): MoverClient {
  return {
    sides: (id) => asked(access, id, (mover) => mover.sidesOfMove(id)),
    resolve: (id, choice) => asked(access, id, (mover) => mover.resolveMove(id, choice)),
    async wake(id) {
      await wakeMovers(access, [id], Math.min(access.time.leftMs, limits.moverWakeMs))
    },
  }
}

/** Asks the move's own object, which reads its shards. An object of the previous version does not have the method. */
async function asked<T>(
  { engine, time }: MoverAccess,
  id: string,
  ask: (mover: MoverOperations) => Promise<T | null>,
): Promise<T> {
  let answer: T | null
  try {
    answer = await askMover(engine, id, Math.min(time.leftMs, limits.moverAskMs), ask)
  } catch (error) {
    const detail = `The shards of move ${id} can't be read now (${messageOf(error)}). Try again.`
    throw new BanyanError('SHARD_UNAVAILABLE', detail, {
      cause: error,
      retryAfterSeconds: limits.moveRetryAfterSeconds,
    })
  }
  if (answer === null) throw new BanyanError('NOT_FOUND', `There is no move "${id}". See: npm run banyan -- moves list`)
  return answer
}

/**
 * The cron's part: wakes moves that may be asleep although they have work. The directory has already woken them, but a
 * wake-up or an alarm may be lost. An object of the previous version returns all open moves, and consecutive turns
 * cycle through them.
 */
export async function wakeOpenMoves(
  engine: Pick<Engine, 'directory' | 'mover'>,
  log: Log,
  turn: number,
): Promise<number> {
  const asleep = await askDirectory(engine, limits.directoryMs, (directory) =>
    orOlder(
      () => directory.movesToWake(limits.cronMovesMax),
      async () => {
        const open = await directory.openMoves()
        return windowOf(open, { turn, size: limits.cronMovesMax }).map(({ id }) => id)
      },
    ),
  )
  return wakeMovers({ engine, log }, asleep, limits.cronWakeMs)
}

/** Wakes the movers of these moves, within `ms` in total, and resolves to the number woken. The cron wakes the rest. */
export async function wakeMovers(
  { engine, log }: Pick<MoverAccess, 'engine' | 'log'>,
  ids: string[],
  ms: number,
): Promise<number> {
  const time = new TimeBudget(systemClock, ms)
  let woken = 0
  await eachAtMost(limits.moversAtOnceMax, ids, async (id) => {
    try {
      if (time.isSpent) throw new Error('no time is left')
      await askMover(engine, id, Math.min(time.leftMs, limits.moverWakeMs), (mover) => mover.wake(id))
      woken++
    } catch (error) {
      log.warn('move.not-woken', { move: id, reason: messageOf(error) })
    }
  })
  return woken
}
