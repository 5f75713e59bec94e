import { limits } from '../core/limits.ts'
import type { Job } from './outbox.ts'

const encoder = new TextEncoder()

/** What Queues counts of a job's message: its JSON in UTF-8, and what Queues adds. */
export const messageBytes = (job: Job): number =>
  encoder.encode(JSON.stringify(job)).byteLength + limits.queueMessageOverheadBytes

/** The jobs in their order, in batches that Queues takes: 100 messages and 256 KB at the most. Each job must fit alone. */
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
