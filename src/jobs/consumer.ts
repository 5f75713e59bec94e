import { eachAtMost } from '../core/bounded.ts'
import { messageOf } from '../core/errors.ts'
import { isId } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { present } from '../core/present.ts'
import type { Allowance } from '../sharding/statement-budget.ts'
import { type Attempt, type Dispatch, QUEUE_GAVE_UP, type Verdict } from './dispatch.ts'
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

/** A message with its job. */
interface Delivery extends Attempt {
  message: Message
}

/**
 * Consumes a batch of jobs, a few at a time. Jobs whose kind has `runMany` run together. It acknowledges or retries
 * each message by itself and never throws, because a throw would deliver the whole batch again, including acknowledged
 * messages. It retries messages for which the invocation's budget is too small.
 */
export async function consume(batch: MessageBatch, dispatch: Dispatch, log: Log, budget?: Allowance): Promise<void> {
  const { alone, groups } = sorted(batch, dispatch)
  const putOff = (message: Message) => {
    log.warn('job.put-off', { message: message.id, statementsLeft: budget?.left })
    message.retry({ delaySeconds: PUT_OFF_SECONDS })
  }
  for (const waiting of groups)
    while (waiting.length > 0) {
      const fit = budget ? Math.floor(budget.left / limits.jobTogetherStatements) : waiting.length
      if (fit > 0) await consumeTogether(waiting.splice(0, fit), dispatch, log)
      else for (const { message } of waiting.splice(0)) putOff(message)
    }
  const atOnceMax = limits.shardsAtOnceMax
  await eachAtMost(atOnceMax, alone, async (message) => {
    if (!budget || budget.left >= atOnceMax * limits.jobStatementsMax) return consumeOne(message, dispatch, log)
    putOff(message)
  })
}

/** The messages whose jobs run alone, and the others by kind. */
function sorted({ messages }: MessageBatch, dispatch: Dispatch): { alone: Message[]; groups: Delivery[][] } {
  const alone: Message[] = []
  const groups = new Map<string, Delivery[]>()
  for (const message of messages) {
    const job = readJob(message.body)
    const kind = job && dispatch.kindTogether(job)
    if (!kind) alone.push(message)
    else groups.set(kind, [...(groups.get(kind) ?? []), { message, job, attempt: message.attempts }])
  }
  return { alone, groups: [...groups.values()] }
}

async function consumeTogether(deliveries: Delivery[], dispatch: Dispatch, log: Log): Promise<void> {
  const verdicts = await dispatch.runMany(deliveries)
  for (const [index, delivery] of deliveries.entries())
    await settle(delivery, present(verdicts[index], 'a verdict for each job'), dispatch, log)
}

async function consumeOne(message: Message, dispatch: Dispatch, log: Log): Promise<void> {
  const job = readJob(message.body)
  if (!job) {
    log.error('job.unreadable', { message: message.id })
    return message.ack()
  }
  const delivery = { message, job, attempt: message.attempts }
  await settle(delivery, await dispatch.run(job, message.attempts), dispatch, log)
}

async function settle(
  { message, job, attempt }: Delivery,
  verdict: Verdict,
  dispatch: Dispatch,
  log: Log,
): Promise<void> {
  try {
    if (verdict.kind === 'retry') return message.retry({ delaySeconds: verdict.delaySeconds })
    if (verdict.kind === 'dead') await dispatch.bury(job, attempt, verdict.error)
    if (verdict.kind === 'paused') await dispatch.park([job])
    message.ack()
  } catch (error) {
    log.error('job.verdict-not-kept', { job: job.id, verdict: verdict.kind, reason: messageOf(error) })
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
