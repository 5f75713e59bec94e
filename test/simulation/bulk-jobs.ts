import type { JobKind } from '../../src/jobs/dispatch.ts'
import type { Job } from '../../src/jobs/outbox.ts'

/** The kind of jobs that carry many bytes. */
export const BULK = 'simulation.bulk'

/** A job whose cause was acknowledged. */
export interface BulkJob {
  id: string
  /** No message takes it, so it must become a dead letter. */
  isTooLarge: boolean
}

/** Of the row that is the job's effect: a table that housekeeping leaves alone, and a key that nobody else uses. */
export const effectIdOf = ({ id, ownerId }: Pick<Job, 'id' | 'ownerId'>): string => `${ownerId}.effect-${id}`

/** Its effect counts how often it came. */
export const bulkJob: JobKind = {
  queue: 'jobs',
  attemptsMax: 100,
  backoffBaseSeconds: 1,
  async run(job, { once }) {
    await once({ keyspace: 'users', key: job.ownerId }, (database) => [
      database
        .prepare(
          `INSERT INTO claim_attempts (id, outcome, created_at) VALUES (?, 'effect', 1)
           ON CONFLICT (id) DO UPDATE SET created_at = created_at + 1`,
        )
        .bind(effectIdOf(job)),
    ])
  },
}
