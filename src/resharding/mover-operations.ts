import type { MoveChoice } from './record.ts'
import type { MoveSides } from './sides.ts'

/** The methods of a move's Durable Object. Names and payloads travel between versions. */
export interface MoverOperations {
  wake(moveId: string): Promise<void>
  /** What both shards hold of the move, and the choices that are safe now. Null if the move does not exist. */
  sidesOfMove(moveId: string): Promise<MoveSides | null>
  /** Carries out a choice if it is safe now, and wakes the move. The caller asks the directory for an undo. */
  resolveMove(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] } | null>
}

/** The movers, for requests of operators. Throws NOT_FOUND, and SHARD_UNAVAILABLE if a mover does not answer. */
export interface MoverClient {
  sides(moveId: string): Promise<MoveSides>
  /** `choices` are the choices that are safe now. */
  resolve(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] }>
  /** Wakes a move after its record changed. Never throws. The cron wakes moves that this call could not wake. */
  wake(moveId: string): Promise<void>
}
