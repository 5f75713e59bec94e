import { DAY_MS, rfc3339 } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Job } from './outbox.ts'

/**
 * Why a job is too old to run, or null. Its effect may have happened as early as its creation. The inbox row that
 * prevents a second effect is kept for `inboxDays` from then, so the job may run only during that time.
 */
export function ageRefusal(job: Job, now: number): string | null {
  const daysMax = limits.inboxDays - limits.inboxMarginDays
  if (now - job.createdAt < daysMax * DAY_MS) return null
  return `The job is too old to run. It was created on ${rfc3339(job.createdAt)}, and a job may run for ${daysMax} days. Its effect may have happened already, and the inbox row that prevents a second effect may be deleted (after ${limits.inboxDays} days). If the effect is missing, make the change again.`
}
