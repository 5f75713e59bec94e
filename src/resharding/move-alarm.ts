import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'

/** What a Durable Object stores for one move: its id and its alarm. */
export interface AlarmStorage {
  findMove(): Promise<string | null>
  keepMove(moveId: string): Promise<void>
  setAlarm(at: number): Promise<void>
  deleteAlarm(): Promise<void>
}

/**
 * The alarm that drives one move. It is re-armed before the work, so that another alarm follows if a turn crashes. The
 * cron wakes a move that still sleeps.
 */
export class MoveAlarm {
  readonly #storage: AlarmStorage
  readonly #clock: Clock
  readonly #turn: (moveId: string) => Promise<number | null>
  #wakes = 0

  /** `turn` works on the move. It resolves to the time of the next turn (ms), or null if none is needed. */
  constructor(storage: AlarmStorage, clock: Clock, turn: (moveId: string) => Promise<number | null>) {
    this.#storage = storage
    this.#clock = clock
    this.#turn = turn
  }

  /** Wakes a move that has work to do, or may have. */
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
    // A wake-up during the turn may have come after the turn read the record, so run another.
    if (this.#wakes !== wakesBefore) await this.#storage.setAlarm(this.#clock.now())
    else if (comeBackAt === null) await this.#storage.deleteAlarm()
    else await this.#storage.setAlarm(comeBackAt)
  }
}
