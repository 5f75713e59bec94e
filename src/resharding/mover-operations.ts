import type { MoveChoice } from './record.ts'
import type { MoveSides } from './sides.ts'

/** What the Durable Object of a move does for others. Names and payloads travel between versions. */
export interface MoverOperations {
  wake(moveId: string): Promise<void>
  /** What both shards hold of the move, and the choices that are safe now; null: there is no such move. */
  sidesOfMove(moveId: string): Promise<MoveSides | null>
  /** Carries a choice out if it is safe now, and wakes the move. An undo is the directory's, which the caller asks. */
  resolveMove(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] } | null>
}

/** The movers, for requests of operators. Throws NOT_FOUND, and SHARD_UNAVAILABLE where a mover does not answer. */
export interface MoverClient {
  sides(moveId: string): Promise<MoveSides>
  /** `choices` are those that are safe now. */
  resolve(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] }>
  /** After a change of the move's record. It never throws: the cron wakes those that could not be woken. */
  wake(moveId: string): Promise<void>
}
