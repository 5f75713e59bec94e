import { messageOf } from '../core/errors.ts'
import { isId } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import type { Dispatch } from './dispatch.ts'
import type { Job } from './outbox.ts'

/** A job as the queue carried it, or null where it isn't one. */
function readJob(body: unknown): Job | null {
  const job = body as Partial<Job> | null
  const isJob = typeof job === 'object' && job !== null && isId(String(job.id)) && typeof job.kind === 'string'
  return isJob ? (job as Job) : null
}

/**
 * Consumes a batch of jobs. Each message is acked or retried for itself and nothing is thrown: one throw would deliver
 * the whole batch again, also what was acked.
 */
export async function consume(batch: MessageBatch, dispatch: Dispatch, log: Log): Promise<void> {
  await Promise.all(batch.messages.map((message) => consumeOne(message, dispatch, log)))
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

/** Consumes a dead-letter queue: what the platform gave up on is recorded, for a person to see and redrive. */
export async function consumeDead(batch: MessageBatch, dispatch: Dispatch, log: Log): Promise<void> {
  for (const message of batch.messages) {
    const job = readJob(message.body)
    try {
      if (job) await dispatch.bury(job, message.attempts, 'The queue gave up on it.')
      else log.error('job.unreadable', { message: message.id })
      message.ack()
    } catch (error) {
      log.error('job.bury-failed', { job: job?.id, reason: messageOf(error) })
      message.retry()
    }
  }
}
