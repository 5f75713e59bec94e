import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Shards } from '../sharding/shards.ts'
import type { Job } from './outbox.ts'

/** The body of a job that has not ended, or null. A message may have an older body than the outbox row. */
export const findPosition = async (shards: Shards, { id }: Job): Promise<Job['body'] | null> => {
  const body = await shards
    .of(id, { read: 'exact', operation: 'jobs.position' })
    .prepare("SELECT body FROM outbox WHERE id = ? AND state IN ('waiting', 'sent')")
    .bind(id)
    .first<string>('body')
  return body === null ? null : JSON.parse(body)
}

/**
 * Advances a job: its next attempt starts with the body `next`. Failures before that no longer count. Resolves to false
 * if the row no longer has the body `seen`, because another delivery was faster or the job is over. If the answer is
 * lost, it throws, because a repetition could not tell its own success from another delivery's.
 */
export async function keepPosition(
  { shards, clock }: { shards: Shards; clock: Clock },
  { id }: Job,
  seen: Job['body'],
  next: Job['body'],
): Promise<boolean> {
  const kept = await shards
    .of(id, { operation: 'jobs.keep-position' })
    .prepare(
      `UPDATE outbox SET body = ?1, attempts = 0, due_at = max(due_at, ?2)
       WHERE id = ?3 AND state IN ('waiting', 'sent') AND json(body) = json(?4) RETURNING id`,
    )
    .bind(JSON.stringify(next), clock.now() + limits.outboxResendAfterMs, id, JSON.stringify(seen))
    .first()
  return kept !== null
}
