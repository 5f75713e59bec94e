import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ShardWindow } from '../sharding/shards.ts'
import type { StatementBudget } from '../sharding/statement-budget.ts'

/** One of the cron's kinds of work. `run` resolves to how many things it did, and stays in its window's budget. */
export interface Duty {
  name: string
  run(window: ShardWindow): Promise<number>
}

export interface DutyRun {
  /** Counts minutes. */
  turn: number
  budget: StatementBudget
  log: Log
}

/**
 * Runs the duties over this turn's shards, with one budget. Each gets what is left, less a share for each duty after it,
 * and another begins in each turn: so every duty gets on every minute, and each in turn gets most. One that fails takes
 * none with it.
 */
export async function runDuties(duties: Duty[], { turn, budget, log }: DutyRun): Promise<void> {
  const first = turn % duties.length
  const ordered = [...duties.slice(first), ...duties.slice(0, first)]
  for (const [index, { name, run }] of ordered.entries()) {
    const after = ordered.length - 1 - index
    const window = {
      turn,
      size: limits.cronShardsMax,
      takesWrites: true,
      budget: budget.allowance(after * limits.cronDutyStatementsMin),
    }
    try {
      const count = await run(window)
      if (count > 0) log.info(name, { count })
    } catch (error) {
      log.error('cron.failed', { duty: name, reason: messageOf(error) })
    }
  }
}
