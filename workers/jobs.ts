import { accountExpiries } from '../src/app/accounts/jobs.ts'
import { systemClock, TimeBudget } from '../src/core/clock.ts'
import { messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import { consoleLog, type Log } from '../src/core/log.ts'
import { consume, consumeDead } from '../src/jobs/consumer.ts'
import { expire, platformExpiries } from '../src/jobs/housekeeping.ts'
import type { Claims } from '../src/sharding/claims.ts'
import type { ShardWindow } from '../src/sharding/shards.ts'
import { openFoundation } from './context.ts'
import type { Env } from './env.ts'
import { wakeOpenMoves } from './moves.ts'

const MINUTE_MS = 60_000

function open(env: Env, context: ExecutionContext, source: string, ms: number) {
  const log = consoleLog({ source })
  const time = new TimeBudget(systemClock, ms)
  const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise)
  return { log, ...openFoundation({ env, log, atLeastEpoch: 0, waitUntil, time }) }
}

/** Queue consumers: `banyan-jobs`, `banyan-media`, and their dead-letter queues. */
export async function queue(batch: MessageBatch, env: Env, context: ExecutionContext): Promise<void> {
  const { dispatch, log } = open(env, context, batch.queue, limits.queueBatchMs)
  await (batch.queue.endsWith('-dead') ? consumeDead : consume)(batch, dispatch, log)
}

/** Every minute: moves that sleep are woken, what a crash left behind is sent, what ran out is settled, what expired goes. */
export async function scheduled(controller: ScheduledController, env: Env, context: ExecutionContext): Promise<void> {
  const { relay, claims, shards, log } = open(env, context, 'cron', limits.cronMs)
  const turn = Math.floor(controller.scheduledTime / MINUTE_MS)
  const window = { turn, size: limits.cronShardsMax, takesWrites: true }
  const duties: [string, () => Promise<number>][] = [
    ['moves.woken', () => wakeOpenMoves(env, log, turn)],
    ['outbox.swept', () => relay.sweep(window)],
    ['claims.settled', () => settle(claims, window, log)],
    ['rows.expired', () => expire(shards, [...platformExpiries, ...accountExpiries], systemClock, log, window)],
  ]
  for (const [duty, run] of duties) {
    try {
      const count = await run()
      if (count > 0) log.info(duty, { count })
    } catch (error) {
      log.error('cron.failed', { duty, reason: messageOf(error) })
    }
  }
}

async function settle(claims: Claims, window: ShardWindow, log: Log): Promise<number> {
  const { settled, failures } = await claims.settleExpired(window)
  for (const reason of failures) log.warn('claim.not-settled', { reason })
  return settled
}
