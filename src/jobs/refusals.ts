import { DAY_MS, rfc3339 } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Job } from './outbox.ts'
import { messageBytes } from './queue-batches.ts'

/**
 * Why a job is too old to run, or null. Its effect may have come as early as the job was created, and the inbox row that
 * keeps it from coming again lasts `inboxDays` from then; so a job runs only while that row is there.
 */
export function ageRefusal(job: Job, now: number): string | null {
  const daysMax = limits.inboxDays - limits.inboxMarginDays
  if (now - job.createdAt < daysMax * DAY_MS) return null
  return `The job is too old to run: it was created on ${rfc3339(job.createdAt)}, and a job runs for ${daysMax} days. Its effect may have come already, and the row that keeps it from coming twice (inbox, ${limits.inboxDays} days) may be gone. If the effect is missing, cause the change again.`
}

/** Why Queues would refuse a job's message, or null. */
export function sizeRefusal(job: Job): string | null {
  const bytes = messageBytes(job)
  return bytes > limits.queueMessageBytesMax ? tooLarge(bytes) : null
}

export const tooLarge = (bytes: number): string =>
  `The job is too large to send: its message has ${bytes} bytes, and a queue takes ${limits.queueMessageBytesMax}. Put ids in its body, and read the rest when it runs.`
