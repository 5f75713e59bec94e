import { systemClock, TimeBudget } from '../src/core/clock.ts'
import { messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import { consoleLog, type Log } from '../src/core/log.ts'
import { logBacklog } from '../src/jobs/backlog.ts'
import { consume, consumeDead } from '../src/jobs/consumer.ts'
import { dutyOfTurn, runDuties } from '../src/jobs/duties.ts'
import { expire, platformExpiries } from '../src/jobs/housekeeping.ts'
import type { Job } from '../src/jobs/outbox.ts'
import { consumePurges } from '../src/jobs/purges.ts'
import { runSchedules } from '../src/jobs/schedules.ts'
import { wakeOpenMoves } from '../src/objects/movers.ts'
import type { Claims } from '../src/sharding/claims.ts'
import type { ShardWindow } from '../src/sharding/shards.ts'
import { noToken } from '../src/web/causal-token.ts'
import { openFoundation } from './context.ts'
import type { Env } from './env.ts'
import { nouns } from './nouns.ts'

const MINUTE_MS = 60_000

function open(env: Env, context: ExecutionContext, source: string, ms: number) {
  const log = consoleLog({ source })
  const time = new TimeBudget(systemClock, ms)
  const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise)
  return {
    log,
    ...openFoundation({
      env,
      log,
      client: noToken,
      waitUntil,
      time,
      callsAtOnceMax: limits.jobShardCallsMax,
      exports: context.exports,
    }),
  }
}

/** Queue consumers: `banyan-mail`, `banyan-jobs`, `banyan-media`, `banyan-purges`, and their dead-letter queues. */
export async function queue(batch: MessageBatch, env: Env, context: ExecutionContext): Promise<void> {
  const { isolate, dispatch, purger, budget, log } = open(
    env,
    context,
    batch.queue,
    batch.queue.endsWith('-media') ? limits.mediaBatchMs : limits.queueBatchMs,
  )
  logBacklog(batch, { times: isolate.backlogs, clock: systemClock, log })
  if (batch.queue.endsWith('-dead')) await consumeDead(batch, dispatch, log)
  else if (batch.queue.endsWith('-purges'))
    await consumePurges(batch, { dispatch, purger, clock: systemClock, log, budget })
  else await consume(batch, dispatch, log, budget)
}

/**
 * Every minute: wakes moves, then sweeps the outbox, settles reservations, deletes expired rows, and runs one of the
 * nouns' duties, so that repairs leave the others their share.
 */
export async function scheduled(controller: ScheduledController, env: Env, context: ExecutionContext): Promise<void> {
  const { isolate, relay, claims, shards, objects, budget, log } = open(env, context, 'cron', limits.cronMs)
  const turn = Math.floor(controller.scheduledTime / MINUTE_MS)
  try {
    const woken = await wakeOpenMoves(isolate.engine, log, turn) // sends no statements; it calls only the directory and the movers
    if (woken > 0) log.info('moves.woken', { count: woken })
  } catch (error) {
    log.error('cron.failed', { duty: 'moves.woken', reason: messageOf(error) })
  }
  const expiries = [...platformExpiries, ...nouns.flatMap((noun) => noun.expiries ?? [])]
  const schedules = nouns.flatMap((noun) => noun.schedules ?? [])
  const follow = (jobs: Job[]) => relay.send(jobs)
  const tools = { shards, objects, clock: systemClock, ids: isolate.ids, log }
  const ofNouns = nouns.flatMap((noun) => noun.duties?.(tools) ?? [])
  const duties = [
    { name: 'outbox.swept', run: (window: ShardWindow) => relay.sweep(window) },
    { name: 'schedules.run', run: () => runSchedules(schedules, { shards, clock: systemClock, log, follow }) },
    { name: 'claims.settled', run: (window: ShardWindow) => settle(claims, window, log) },
    { name: 'rows.expired', run: (window: ShardWindow) => expire(shards, expiries, systemClock, log, window) },
    ...dutyOfTurn(ofNouns, turn),
  ]
  await runDuties(duties, { turn, budget, log })
}

async function settle(claims: Claims, window: ShardWindow, log: Log): Promise<number> {
  const { settled, failures } = await claims.settleExpired(window)
  for (const reason of failures) log.warn('claim.not-settled', { reason })
  return settled
}
