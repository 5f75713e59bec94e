import type { Clock } from '../core/clock.ts'
import { derivedId, slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { isTaken } from '../sharding/answers.ts'
import { batchByName, rowsOf } from '../sharding/named-batch.ts'
import type { ShardDatabase, Shards } from '../sharding/shards.ts'
import type { Job } from './outbox.ts'

/** A parent is due again once all of its children have ended. `?1`: its id. `?2`: now. */
const WAKE = `UPDATE outbox SET state = 'waiting', due_at = ?2 WHERE id = ?1 AND state = 'split'
    AND EXISTS (SELECT 1 FROM job_records WHERE id = ?1 AND children_done + children_dead >= children)
  RETURNING id, owner_id AS ownerId, kind, body, created_at AS createdAt, attempts, parent_id AS parentId`

interface WokenRow extends Omit<Job, 'body' | 'parentId'> {
  body: string
  parentId: string | null
}

const wake = (database: ShardDatabase, id: string, now: number) =>
  rowsOf<WokenRow>(database.prepare(WAKE).bind(id, now))

const jobsOf = ({ results }: D1Result<WokenRow>): Job[] =>
  results.map(({ body, parentId, ...row }) => ({ ...row, body: JSON.parse(body), ...(parentId && { parentId }) }))

/** The id of a child. The same parent, owner and key always give the same id. */
export const childId = ({ id, createdAt }: Pick<Job, 'id' | 'createdAt'>, ownerId: string, key: string): string =>
  derivedId(ownerId, createdAt, `${id}.${key}`)

/**
 * Creates the children, then lets the parent wait for them. A repeated split creates no child twice, because a child's
 * id is derived. A child that has ended may run again, and its inbox rows then prevent a second effect. An empty list
 * lets the parent wait for those it has. Resolves to the jobs to send.
 */
export async function split(shards: Shards, parent: Job, children: Job[]): Promise<Job[]> {
  const { failed } = await shards.group(
    children.map((job) => ({ ...job, key: job.id })),
    { keyspace: 'users', operation: 'jobs.split' },
    (database, some) => ({
      rows: database
        .prepare(
          `INSERT INTO outbox (id, owner_id, kind, body, due_at, created_at, state, attempts, parent_id)
           SELECT value ->> 'id', value ->> 'ownerId', value ->> 'kind', value -> 'body', (value ->> 'createdAt') + ?,
             value ->> 'createdAt', 'waiting', 0, value ->> 'parentId' FROM json_each(?) WHERE true
           ON CONFLICT (id) DO NOTHING`,
        )
        .bind(limits.outboxSweepAfterMs, JSON.stringify(some)),
    }),
  )
  for (const error of failed.values()) throw error
  const database = shards.of(parent.id, { operation: 'jobs.split', idempotent: true })
  const { woken } = await batchByName(database, {
    record: database
      .prepare('UPDATE job_records SET children = coalesce(children, ?) WHERE id = ?')
      .bind(children.length, parent.id),
    row: database
      .prepare("UPDATE outbox SET state = 'split' WHERE id = ? AND state IN ('waiting', 'sent')")
      .bind(parent.id),
    woken: wake(database, parent.id, parent.createdAt),
  })
  return [...children, ...jobsOf(woken)]
}

/**
 * Counts a child that has ended, once for each ending, in the parent's slot. A dead letter that is redriven and then
 * done counts as done. Resolves to the parent if it is due again. Does nothing for a job without a parent.
 */
export async function reportToParent(
  { shards, clock }: { shards: Shards; clock: Clock },
  { id, parentId }: Job,
  ending: 'done' | 'dead',
): Promise<Job[]> {
  if (!parentId) return []
  const database = shards.of(parentId, { operation: 'jobs.report', idempotent: true })
  const inboxId = (how: typeof ending) => `${slotOf(parentId)}.${id}.${how}`
  const has = (how: typeof ending) => ({ sql: '(SELECT count(*) FROM inbox WHERE id = ?)', value: inboxId(how) })
  const [counted, other] =
    ending === 'done'
      ? [`children_done = children_done + 1, children_dead = children_dead - ${has('dead').sql}`, inboxId('dead')]
      : [`children_dead = children_dead + 1 - ${has('done').sql}`, inboxId('done')]
  try {
    const { woken } = await batchByName(database, {
      once: database.prepare('INSERT INTO inbox (id, done_at) VALUES (?, ?)').bind(inboxId(ending), clock.now()),
      record: database.prepare(`UPDATE job_records SET ${counted} WHERE id = ?`).bind(other, parentId),
      woken: wake(database, parentId, clock.now()),
    })
    return jobsOf(woken)
  } catch (error) {
    if (isTaken(error, 'inbox')) return []
    throw error
  }
}
