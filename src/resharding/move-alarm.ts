import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'

/** What a Durable Object keeps for one move: which it is, and its alarm. */
export interface AlarmStorage {
  findMove(): Promise<string | null>
  keepMove(moveId: string): Promise<void>
  setAlarm(at: number): Promise<void>
  deleteAlarm(): Promise<void>
}

/**
 * The alarm that drives one move. It is re-armed before the work, so that an alarm whose turn dies is followed by another;
 * what sleeps all the same is woken by cron.
 */
export class MoveAlarm {
  readonly #storage: AlarmStorage
  readonly #clock: Clock
  readonly #turn: (moveId: string) => Promise<number | null>
  #wakes = 0

  /** `turn` works on the move and resolves to when to come back (ms), or to null: never. */
  constructor(storage: AlarmStorage, clock: Clock, turn: (moveId: string) => Promise<number | null>) {
    this.#storage = storage
    this.#clock = clock
    this.#turn = turn
  }

  /** The move has something to do, or may have. */
  async wake(moveId: string): Promise<void> {
    this.#wakes++
    await this.#storage.keepMove(moveId)
    await this.#storage.setAlarm(this.#clock.now())
  }

  async ring(): Promise<void> {
    const moveId = await this.#storage.findMove()
    if (!moveId) return
    await this.#storage.setAlarm(this.#clock.now() + limits.moveWatchMs)
    const wakesBefore = this.#wakes
    const comeBackAt = await this.#turn(moveId)
    // Who was woken in the middle may have missed why.
    if (this.#wakes !== wakesBefore) await this.#storage.setAlarm(this.#clock.now())
    else if (comeBackAt === null) await this.#storage.deleteAlarm()
    else await this.#storage.setAlarm(comeBackAt)
  }
}
