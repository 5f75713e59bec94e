import { limits } from '../core/limits.ts'
import type { Job } from './outbox.ts'

const encoder = new TextEncoder()

/** The size of a job's message as Queues counts it: its JSON in UTF-8, and an overhead. */
export const messageBytes = (job: Job): number =>
  encoder.encode(JSON.stringify(job)).byteLength + limits.queueMessageOverheadBytes

/** What a queue gets for the job. A body that is too large for a message stays in the outbox row. */
export const messageOfJob = (job: Job): Job =>
  messageBytes(job) > limits.queueMessageBytesMax ? { ...job, body: {}, bodyIn: 'row' } : job

/** The jobs in order, in batches of at most 100 messages and 256 KB, the limits of Queues. Each job must fit alone. */
export function queueBatches(jobs: Job[]): Job[][] {
  const batches: Job[][] = []
  let bytesLeft = 0
  for (const job of jobs) {
    const bytes = messageBytes(job)
    const last = batches.at(-1)
    if (last && last.length < limits.queueBatchMessagesMax && bytes <= bytesLeft) last.push(job)
    else {
      batches.push([job])
      bytesLeft = limits.queueBatchBytesMax
    }
    bytesLeft -= bytes
  }
  return batches
}
