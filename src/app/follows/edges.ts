import type { ManyContext } from '../../jobs/kinds.ts'
import type { GroupDatabase } from '../../sharding/grouped-batches.ts'
import { rowsOf } from '../../sharding/named-batch.ts'

/** One user follows another, or has ended that. The edge with the highest version counts. */
export interface Edge {
  followerId: string
  followeeId: string
  followedAt: number
  endedAt: number | null
  version: number
}

/** The key of the follower's side. */
export const sideOf = ({ followerId, followeeId }: Pick<Edge, 'followerId' | 'followeeId'>): string =>
  `${followerId}.${followeeId}`

/** The key of the followee's side. */
export const otherSideOf = ({ followerId, followeeId }: Pick<Edge, 'followerId' | 'followeeId'>): string =>
  `${followeeId}.${followerId}`

/** The number of followers and of followed users in the rows of `id`, an SQL expression. */
export const countsIn = (id: string) => ({
  followers: `(SELECT count(*) FROM followers WHERE followee_id = ${id} AND ended_at IS NULL)`,
  following: `(SELECT count(*) FROM follows WHERE follower_id = ${id} AND ended_at IS NULL)`,
})

/** For a user without a row of counts, the first change starts from the true ones. */
const START = {
  followers: `CASE WHEN counts.id IS NULL THEN ${countsIn('given.id').followers} ELSE 0 END`,
  following: `CASE WHEN counts.id IS NULL THEN ${countsIn('given.id').following} ELSE 0 END`,
}

/** Counts a change of `given.id`'s followed users: `?` is 1 or -1. It precedes the edge’s own statement. */
export const COUNT_FOLLOWING = `INSERT INTO follow_counts (id, followers, following)
  SELECT given.id, ${START.followers}, given.change + ${START.following}
  FROM (SELECT owner_id AS id, ? AS change FROM outbox WHERE id = ?) AS given
  LEFT JOIN follow_counts AS counts ON counts.id = given.id WHERE true
  ON CONFLICT (id) DO UPDATE SET following = follow_counts.following + excluded.following`

/** An account that does not exist gains no followers, but it can lose them. */
const IS_KEPT = `(edge.value ->> 'endedAt' IS NOT NULL
  OR EXISTS (SELECT 1 FROM profiles WHERE id = edge.value ->> 'followeeId'))`

/** Each edge of `?1` (JSON) changes the count if it is newer than the row, which the next statement replaces. */
const COUNT_FOLLOWERS = `INSERT INTO follow_counts (id, followers, following)
  SELECT given.id, given.change + ${START.followers}, ${START.following}
  FROM (SELECT edge.value ->> 'followeeId' AS id,
          sum((edge.value ->> 'endedAt' IS NULL) - (known.id IS NOT NULL AND known.ended_at IS NULL)) AS change
        FROM json_each(?1) AS edge LEFT JOIN followers AS known ON known.id = edge.value ->> 'key'
        WHERE edge.value ->> 'version' > coalesce(known.version, 0) AND ${IS_KEPT} GROUP BY 1) AS given
  LEFT JOIN follow_counts AS counts ON counts.id = given.id WHERE given.change <> 0
  ON CONFLICT (id) DO UPDATE SET followers = follow_counts.followers + excluded.followers`

const KEEP_FOLLOWERS = `INSERT INTO followers (id, followee_id, follower_id, followed_at, ended_at, version)
  SELECT edge.value ->> 'key', edge.value ->> 'followeeId', edge.value ->> 'followerId', edge.value ->> 'followedAt',
    edge.value ->> 'endedAt', edge.value ->> 'version'
  FROM json_each(?1) AS edge WHERE ${IS_KEPT}
  ON CONFLICT (id) DO UPDATE SET followed_at = excluded.followed_at, ended_at = excluded.ended_at,
    version = excluded.version WHERE excluded.version > followers.version`

const FIND_GONE = `SELECT edge.value ->> 'key' AS key FROM json_each(?1) AS edge WHERE NOT ${IS_KEPT}`

/** The counts of the followers of edges that are taken back, if their sides have these versions. */
const COUNT_TAKEN_BACK = `UPDATE follow_counts SET following = following - taken.count
  FROM (SELECT known.follower_id AS id, count(*) AS count FROM json_each(?1) AS edge
        JOIN follows AS known ON known.id = edge.value ->> 'key' AND known.version = edge.value ->> 'version'
        WHERE known.ended_at IS NULL GROUP BY 1) AS taken
  WHERE follow_counts.id = taken.id`

const TAKE_BACK = `UPDATE follows SET ended_at = ?2, version = max(follows.version + 1, ?2) FROM json_each(?1) AS edge
  WHERE follows.id = edge.value ->> 'key' AND follows.version = edge.value ->> 'version' AND follows.ended_at IS NULL`

export const EDGE_COLUMNS = `id, follower_id AS followerId, followee_id AS followeeId, followed_at AS followedAt,
  ended_at AS endedAt, version`

export interface EdgeRow extends Edge {
  id: string
}

/** The rows of one table with the keys of these items. */
export const findEdges = (database: GroupDatabase, table: 'follows' | 'followers', items: { key: string }[]) =>
  rowsOf<EdgeRow>(
    database
      .prepare(`SELECT ${EDGE_COLUMNS} FROM ${table} WHERE id IN (SELECT value FROM json_each(?))`)
      .bind(JSON.stringify(items.map(({ key }) => key))),
  )

/**
 * Gives the followees' sides these versions of the edges, unless they have newer ones, in one batch per shard. Each
 * batch changes the counts by what its edges change, so it may be sent again. If a followee has no account any more,
 * the edge ends on both sides. Resolves to the edges that may not have arrived, each with the reason.
 */
export async function deliver(tools: ManyContext, edges: readonly Edge[]): Promise<Map<Edge, unknown>> {
  // An older version of an edge changes nothing, so the newest speaks for all of them.
  const newest = new Map<string, Edge>()
  for (const edge of edges) {
    const key = otherSideOf(edge)
    if (edge.version > (newest.get(key)?.version ?? 0)) newest.set(key, edge)
  }
  const { answers, failed } = await tools.shards.group(
    [...newest].map(([key, edge]) => ({ ...edge, key })),
    { keyspace: 'users', operation: 'follows.deliver' },
    (database, some) => {
      const json = JSON.stringify(some)
      return {
        counted: database.prepare(COUNT_FOLLOWERS).bind(json),
        kept: database.prepare(KEEP_FOLLOWERS).bind(json),
        gone: rowsOf<{ key: string }>(database.prepare(FIND_GONE).bind(json)),
      }
    },
  )
  const reasons = new Map<string, unknown>([...failed].map(([{ key }, error]) => [key, error]))
  const gone = answers.flatMap(({ gone }) => gone.results.flatMap(({ key }) => newest.get(key) ?? []))
  if (gone.length > 0) for (const [edge, reason] of await takeBack(tools, gone)) reasons.set(otherSideOf(edge), reason)
  const late = edges.filter((edge) => reasons.has(otherSideOf(edge)))
  return new Map(late.map((edge) => [edge, reasons.get(otherSideOf(edge))]))
}

/** Ends edges to accounts that do not exist. Resolves to those that may not have ended, each with the reason. */
async function takeBack(tools: ManyContext, gone: Edge[]): Promise<Map<Edge, unknown>> {
  const { answers, failed } = await tools.shards.group(
    gone.map((edge) => ({ ...edge, key: sideOf(edge) })),
    { keyspace: 'users', operation: 'follows.take-back' },
    (database, some) => {
      const json = JSON.stringify(some)
      return {
        counted: database.prepare(COUNT_TAKEN_BACK).bind(json),
        taken: database.prepare(TAKE_BACK).bind(json, tools.clock.now()),
        sides: findEdges(database, 'follows', some),
      }
    },
  )
  const sides = answers.flatMap(({ sides }) => sides.results)
  return new Map<Edge, unknown>([
    ...failed,
    ...(await deliver(
      tools,
      sides.filter(({ endedAt }) => endedAt !== null),
    )),
  ])
}
