import { DAY_MS } from '../../core/clock.ts'
import { limits } from '../../core/limits.ts'
import type { Expiry } from '../../jobs/housekeeping.ts'
import { type FailedJobs, type JobKinds, type ManyContext, together } from '../../jobs/kinds.ts'
import type { Job } from '../../jobs/outbox.ts'
import { deliver, type Edge } from './edges.ts'
import { EDGE_CHANGED } from './follows.ts'

/** A tombstone stays until no job of an older version may run any more. */
export const followExpiries: Expiry[] = ['follows', 'followers'].map((table) => ({
  keyspace: 'users',
  table,
  column: 'ended_at',
  afterMs: limits.inboxDays * DAY_MS,
}))

export const followJobs = (): JobKinds => ({
  [EDGE_CHANGED]: { queue: 'jobs', attemptsMax: 10, backoffBaseSeconds: 5, ...together(deliverJobs) },
})

async function deliverJobs(jobs: Job[], tools: ManyContext): Promise<FailedJobs> {
  const edges = new Map(jobs.map((job) => [{ ...job.body, followerId: job.ownerId } as Edge, job]))
  const failed = await deliver(tools, [...edges.keys()])
  return new Map([...edges].flatMap(([edge, job]) => (failed.has(edge) ? [[job, failed.get(edge)]] : [])))
}
