import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import { consoleLog } from '../core/log.ts'
import { systemRandom } from '../core/random.ts'
import { Mover } from '../resharding/move.ts'
import { MoveAlarm } from '../resharding/move-alarm.ts'
import type { MoverOperations } from '../resharding/mover-operations.ts'
import type { MoveChoice, RemoteMoveRecords } from '../resharding/record.ts'
import type { MoveSides } from '../resharding/sides.ts'
import { askDirectory } from './directory-calls.ts'
import type { Engine } from './engine.ts'

/**
 * The Durable Object that drives one move with alarms. Its name is the move's id. A Worker exports a class that extends
 * this one and passes its own `Engine`.
 */
export class EngineMover extends DurableObject implements MoverOperations {
  readonly #mover: Mover
  readonly #alarm: MoveAlarm

  constructor(ctx: DurableObjectState, env: unknown, engine: Engine) {
    super(ctx, env as Cloudflare.Env)
    this.#mover = new Mover({
      records: remoteRecords(engine),
      shards: engine.shards,
      clock: systemClock,
      random: systemRandom,
      log: consoleLog({ source: 'mover' }),
      share: engine.moveShare,
    })
    const { storage } = ctx
    this.#alarm = new MoveAlarm(
      {
        findMove: async () => (await storage.get<string>('move')) ?? null,
        keepMove: (moveId) => storage.put('move', moveId),
        setAlarm: (at) => storage.setAlarm(at),
        deleteAlarm: () => storage.deleteAlarm(),
      },
      systemClock,
      (moveId) => this.#mover.turn(moveId),
    )
  }

  async wake(moveId: string): Promise<void> {
    await this.#alarm.wake(moveId)
  }

  async sidesOfMove(moveId: string): Promise<MoveSides | null> {
    return this.#mover.sides(moveId)
  }

  async resolveMove(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] } | null> {
    const isSafe = await this.#resolved(moveId, choice)
    if (isSafe && choice !== 'undo') await this.#alarm.wake(moveId)
    const sides = isSafe ? { choices: [choice] } : await this.#mover.sides(moveId)
    return sides && { isSafe, choices: sides.choices }
  }

  /** An interrupted choice may have taken the lanes. The next turn uses them or gives them up. */
  async #resolved(moveId: string, choice: MoveChoice): Promise<boolean> {
    try {
      return await this.#mover.resolve(moveId, choice)
    } catch (error) {
      await this.#alarm.wake(moveId)
      throw error
    }
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring()
  }
}

/** The directory's records of moves, by RPC. */
function remoteRecords(engine: Engine): RemoteMoveRecords {
  const { directoryMs } = limits
  return {
    find: (id) => askDirectory(engine, directoryMs, (directory) => directory.findMove(id)),
    change: (...change) => askDirectory(engine, directoryMs, (directory) => directory.changeMove(...change)),
    report: (...progress) => askDirectory(engine, directoryMs, (directory) => directory.reportMove(...progress)),
  }
}
