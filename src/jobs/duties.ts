import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Shards, ShardWindow } from '../sharding/shards.ts'
import type { StatementBudget } from '../sharding/statement-budget.ts'

/** One kind of work of the cron. `run` resolves to the number of items, and stays within its window's budget. */
export interface Duty {
  name: string
  run(window: ShardWindow): Promise<number>
}

/** What the duties of nouns work with. */
export interface DutyTools {
  shards: Shards
  clock: Clock
  ids: IdSource
  log: Log
}

export interface DutyRun {
  /** The number of the minute. */
  turn: number
  budget: StatementBudget
  log: Log
}

/**
 * The duty that this turn runs. Its window counts its own turns. Otherwise, it would visit the same shards forever if
 * the number of windows were a multiple of the number of duties.
 */
export function dutyOfTurn(duties: Duty[], turn: number): Duty[] {
  const duty = duties[turn % duties.length]
  if (!duty) return []
  const ownTurn = Math.floor(turn / duties.length)
  return [{ name: duty.name, run: (window) => duty.run({ ...window, turn: ownTurn }) }]
}

/**
 * Runs the duties over this turn's shards, with one budget. Each gets the rest of it, minus a share for each later
 * duty. A different duty is first in each turn, so every duty progresses every minute and gets the largest share in
 * turn. A failing duty does not stop the others.
 */
export async function runDuties(duties: Duty[], { turn, budget, log }: DutyRun): Promise<void> {
  const first = turn % duties.length
  const ordered = [...duties.slice(first), ...duties.slice(0, first)]
  // With many duties, a share is smaller, so that the first one gets at least two of them.
  const share = Math.min(limits.cronDutyStatementsMin, Math.floor(budget.left / (duties.length + 1)))
  for (const [index, { name, run }] of ordered.entries()) {
    const after = ordered.length - 1 - index
    const window = {
      turn,
      size: limits.cronShardsMax,
      takesWrites: true,
      budget: budget.allowance(after * share),
    }
    try {
      const count = await run(window)
      if (count > 0) log.info(name, { count })
    } catch (error) {
      log.error('cron.failed', { duty: name, reason: messageOf(error) })
    }
  }
}
