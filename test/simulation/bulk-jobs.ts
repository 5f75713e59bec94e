import type { JobKind } from '../../src/jobs/kinds.ts'
import type { Job } from '../../src/jobs/outbox.ts'

/** The kind of jobs with large bodies. */
export const BULK = 'simulation.bulk'

/** The key of the row that is the job's effect, in a table that housekeeping ignores. Nothing else uses the key. */
export const effectIdOf = ({ id, ownerId }: Pick<Job, 'id' | 'ownerId'>): string => `${ownerId}.effect-${id}`

/** The effect counts how often it happened. */
export const bulkJob: JobKind = {
  queue: 'jobs',
  attemptsMax: 100,
  backoffBaseSeconds: 1,
  async run(job, { once }) {
    if (String(job.body.text).length !== job.body.size) throw new Error('the body is not whole')
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
