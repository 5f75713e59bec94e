import { type Clock, inTime } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'

/** What waits in a queue. */
export interface Backlog {
  messages: number
  bytes: number
  /** The age of the oldest message, or null if the queue is empty. */
  oldestMs: number | null
}

/** When an isolate last logged the backlog of each queue (ms). */
export type BacklogTimes = Map<string, number>

function backlogOf({ backlogCount, backlogBytes, oldestMessageTimestamp }: QueueMetrics, now: number): Backlog {
  const oldestAt = oldestMessageTimestamp?.getTime() ?? 0
  return {
    messages: backlogCount,
    bytes: backlogBytes,
    // An empty queue has no oldest message, or one of 1970.
    oldestMs: backlogCount > 0 && oldestAt > 0 ? Math.max(0, now - oldestAt) : null,
  }
}

/** Asks a queue, also when no batch comes. Throws if it does not answer. */
export async function askBacklog(queue: Pick<Queue, 'metrics'>, clock: Clock): Promise<Backlog> {
  const metrics = await inTime(clock, limits.queueSendMs, queue.metrics(), noAnswer)
  return backlogOf(metrics, clock.now())
}

const noAnswer = () => new Error(`the queue did not answer within ${limits.queueSendMs} ms`)

/** Logs what waits behind a batch, at most once a minute per isolate and queue. Older runtimes do not say it. */
export function logBacklog(
  { queue, metadata }: Pick<MessageBatch, 'queue'> & { metadata?: MessageBatch['metadata'] },
  { times, clock, log }: { times: BacklogTimes; clock: Clock; log: Log },
): void {
  if (!metadata) return
  const now = clock.now()
  if (now - (times.get(queue) ?? Number.NEGATIVE_INFINITY) < limits.backlogLogMs) return
  times.set(queue, now)
  log.info('queue.backlog', { queue, ...backlogOf(metadata.metrics, now) })
}
