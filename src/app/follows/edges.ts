import type { Clock } from '../../core/clock.ts'
import { rowsOf } from '../../sharding/named-batch.ts'
import type { Shards } from '../../sharding/shards.ts'

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

/** Each edge of `?1` (JSON) changes the count if it is newer than the row, which the next statement replaces. */
const COUNT_FOLLOWERS = `INSERT INTO follow_counts (id, followers, following)
  SELECT given.id, given.change + ${START.followers}, ${START.following}
  FROM (SELECT edge.value ->> 'followeeId' AS id,
          sum((edge.value ->> 'endedAt' IS NULL) - (known.id IS NOT NULL AND known.ended_at IS NULL)) AS change
        FROM json_each(?1) AS edge LEFT JOIN followers AS known ON known.id = edge.value ->> 'key'
        WHERE edge.value ->> 'version' > coalesce(known.version, 0) GROUP BY 1) AS given
  JOIN profiles ON profiles.id = given.id LEFT JOIN follow_counts AS counts ON counts.id = given.id
  WHERE given.change <> 0 OR counts.id IS NULL
  ON CONFLICT (id) DO UPDATE SET followers = follow_counts.followers + excluded.followers`

const KEEP_FOLLOWERS = `INSERT INTO followers (id, followee_id, follower_id, followed_at, ended_at, version)
  SELECT edge.value ->> 'key', edge.value ->> 'followeeId', edge.value ->> 'followerId', edge.value ->> 'followedAt',
    edge.value ->> 'endedAt', edge.value ->> 'version'
  FROM json_each(?1) AS edge JOIN profiles ON profiles.id = edge.value ->> 'followeeId' WHERE true
  ON CONFLICT (id) DO UPDATE SET followed_at = excluded.followed_at, ended_at = excluded.ended_at,
    version = excluded.version WHERE excluded.version > followers.version`

const FIND_GONE = `SELECT edge.value ->> 'key' AS key FROM json_each(?1) AS edge
  WHERE NOT EXISTS (SELECT 1 FROM profiles WHERE id = edge.value ->> 'followeeId')`

const COUNT_TAKEN_BACK = `UPDATE follow_counts SET following = following - taken.count
  FROM (SELECT known.follower_id AS id, count(*) AS count FROM json_each(?1) AS edge
        JOIN follows AS known ON known.id = edge.value ->> 'key' AND known.version = edge.value ->> 'version'
        WHERE known.ended_at IS NULL GROUP BY 1) AS taken
  WHERE follow_counts.id = taken.id`

const TAKE_BACK = `UPDATE follows SET ended_at = ?2, version = max(follows.version + 1, ?2) FROM json_each(?1) AS edge
  WHERE follows.id = edge.value ->> 'key' AND follows.version = edge.value ->> 'version' AND follows.ended_at IS NULL`

type Keyed = Edge & { key: string }

/**
 * Gives the followees' sides these versions of the edges, unless they have newer ones, in one batch per shard. Each
 * batch changes the counts by what its edges change, so it may be sent again. Takes an edge back if its followee has
 * no account any more. Resolves to the edges that may not have arrived, each with the reason.
 */
export async function deliver(
  { shards, clock }: { shards: Shards; clock: Clock },
  edges: readonly Edge[],
): Promise<Map<Edge, unknown>> {
  // An older version of an edge changes nothing, so the newest speaks for all of them.
  const newest = new Map<string, Keyed>()
  for (const edge of edges) {
    const key = otherSideOf(edge)
    if (edge.version > (newest.get(key)?.version ?? 0)) newest.set(key, { ...edge, key })
  }
  const { answers, failed } = await shards.group(
    [...newest.values()],
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
  const reasons = new Map([...failed].map(([{ key }, error]) => [key, error as unknown]))
  const gone = answers.flatMap(({ gone }) => gone.results.flatMap(({ key }) => newest.get(key) ?? []))
  for (const [key, error] of await takeBack({ shards, clock }, gone)) reasons.set(key, error)
  return new Map(
    edges.flatMap((edge) => {
      const key = otherSideOf(edge)
      return reasons.has(key) ? [[edge, reasons.get(key)] as const] : []
    }),
  )
}

/** Ends edges to accounts that do not exist. Resolves to the keys of the other sides that failed. */
async function takeBack({ shards, clock }: { shards: Shards; clock: Clock }, gone: Keyed[]) {
  const items = gone
    .filter(({ endedAt }) => endedAt === null)
    .map((edge) => ({ ...edge, key: sideOf(edge), otherKey: edge.key }))
  const { failed } = await shards.group(
    items,
    { keyspace: 'users', operation: 'follows.take-back' },
    (database, some) => {
      const json = JSON.stringify(some)
      return {
        counted: database.prepare(COUNT_TAKEN_BACK).bind(json),
        taken: database.prepare(TAKE_BACK).bind(json, clock.now()),
      }
    },
  )
  return [...failed].map(([{ otherKey }, error]) => [otherKey, error] as const)
}
