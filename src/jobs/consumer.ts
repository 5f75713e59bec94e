import { eachAtMost } from '../core/bounded.ts'
import { messageOf } from '../core/errors.ts'
import { isId } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Allowance } from '../sharding/statement-budget.ts'
import { type Dispatch, QUEUE_GAVE_UP } from './dispatch.ts'
import type { Job } from './outbox.ts'

/** Enough, because the next invocation has its own budget. */
const PUT_OFF_SECONDS = 1

/** The job in a queue's message, or null if it is not a job. `createdAt` decides whether it may still run. */
export function readJob(body: unknown): Job | null {
  const job = body as Partial<Job> | null
  const isJob =
    typeof job === 'object' &&
    job !== null &&
    isId(String(job.id)) &&
    isId(String(job.ownerId)) &&
    typeof job.kind === 'string' &&
    typeof job.body === 'object' &&
    job.body !== null &&
    Number.isSafeInteger(job.createdAt) &&
    Number(job.createdAt) >= 0
  return isJob ? (job as Job) : null
}

/**
 * Consumes a batch of jobs, a few at a time. It acknowledges or retries each message by itself and never throws,
 * because a throw would deliver the whole batch again, including acknowledged messages. It retries messages for which
 * the invocation's budget is too small.
 */
export async function consume(batch: MessageBatch, dispatch: Dispatch, log: Log, budget?: Allowance): Promise<void> {
  const atOnceMax = limits.shardsAtOnceMax
  await eachAtMost(atOnceMax, batch.messages, async (message) => {
    if (!budget || budget.left >= atOnceMax * limits.jobStatementsMax) return consumeOne(message, dispatch, log)
    log.warn('job.put-off', { message: message.id, statementsLeft: budget.left })
    message.retry({ delaySeconds: PUT_OFF_SECONDS })
  })
}

async function consumeOne(message: Message, dispatch: Dispatch, log: Log): Promise<void> {
  const job = readJob(message.body)
  if (!job) {
    log.error('job.unreadable', { message: message.id })
    return message.ack()
  }
  try {
    const verdict = await dispatch.run(job, message.attempts)
    if (verdict.kind === 'retry') return message.retry({ delaySeconds: verdict.delaySeconds })
    if (verdict.kind === 'dead') await dispatch.bury(job, message.attempts, verdict.error)
    message.ack()
  } catch (error) {
    log.error('job.bury-failed', { job: job.id, reason: messageOf(error) })
    message.retry()
  }
}

/** Consumes a dead-letter queue. Records each job that the platform gave up on, for an operator. */
export async function consumeDead(batch: MessageBatch, dispatch: Dispatch, log: Log): Promise<void> {
  for (const message of batch.messages) {
    const job = readJob(message.body)
    try {
      if (job) await dispatch.bury(job, message.attempts, QUEUE_GAVE_UP)
      else log.error('job.unreadable', { message: message.id })
      message.ack()
    } catch (error) {
      log.error('job.bury-failed', { job: job?.id, reason: messageOf(error) })
      message.retry()
    }
  }
}
