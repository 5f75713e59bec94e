import type { Clock } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { ShardFailure } from '../sharding/scatter.ts'
import type { Shards } from '../sharding/shards.ts'

/** How many jobs of a kind there are. */
export interface KindCount {
  waiting: number
  running: number
  dead: number
  /** The age of the oldest job that waits and may run already, or null. */
  oldestMs: number | null
}

export interface KindCounts {
  kinds: Map<string, KindCount>
  /** A shard has more rows than were counted. All numbers may then be too low. */
  atLeast: boolean
  failed: ShardFailure[]
}

interface CountRow {
  what: 'waiting' | 'running' | 'dead' | 'read'
  kind: string
  jobs: number
  oldestAt: number | null
}

/**
 * Per kind: outbox rows that wait, records of running jobs, and dead letters. It reads at most `?1` rows of each table.
 * The last row of the answer says how many it read of the longest one. `?2`: now.
 */
const countSql = (ownedHere: (column: string) => string) => `WITH
  waiting AS MATERIALIZED (SELECT id, kind, state, created_at FROM outbox WHERE id > '' LIMIT ?1),
  records AS MATERIALIZED (SELECT id, kind FROM job_records WHERE state = 'running' AND kind > '' LIMIT ?1),
  letters AS MATERIALIZED (SELECT id, kind FROM dead_letters WHERE kind > '' LIMIT ?1)
  SELECT 'waiting' AS what, kind, count(*) AS jobs, min(CASE WHEN created_at <= ?2 THEN created_at END) AS oldestAt
  FROM waiting WHERE state <> 'dead' AND ${ownedHere('id')} GROUP BY kind
  UNION ALL SELECT 'running', kind, count(*), NULL FROM records WHERE ${ownedHere('id')} GROUP BY kind
  UNION ALL SELECT 'dead', kind, count(*), NULL FROM letters WHERE ${ownedHere('id')} GROUP BY kind
  UNION ALL SELECT 'read', '', max((SELECT count(*) FROM waiting), (SELECT count(*) FROM records), (SELECT count(*) FROM letters)), NULL`

/** Counts the jobs of each kind in all shards, with one query per shard. */
export async function countKinds({ shards, clock }: { shards: Shards; clock: Clock }): Promise<KindCounts> {
  const now = clock.now()
  const { values, failed } = await shards.each('users', async ({ ownedHere, run }) => {
    const { results } = await run<CountRow>(countSql(ownedHere), limits.kindRowsMax, now)
    return results
  })
  const kinds = new Map<string, KindCount>()
  let atLeast = false
  for (const { what, kind, jobs, oldestAt } of values.flat()) {
    if (what === 'read') {
      atLeast ||= jobs >= limits.kindRowsMax
      continue
    }
    const count = kinds.get(kind) ?? noJobs()
    kinds.set(kind, count)
    count[what] += jobs
    if (oldestAt !== null) count.oldestMs = Math.max(count.oldestMs ?? 0, now - oldestAt)
  }
  return { kinds, atLeast, failed }
}

export const noJobs = (): KindCount => ({ waiting: 0, running: 0, dead: 0, oldestMs: null })
