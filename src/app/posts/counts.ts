import { limits } from '../../core/limits.ts'
import type { Duty, DutyTools } from '../../jobs/duties.ts'
import { upTo, type WalkedRows, walk, workOff } from '../../jobs/walk.ts'
import type { ShardFailure } from '../../sharding/scatter.ts'
import type { ShardDatabase, ShardStatement } from '../../sharding/shards.ts'

const countOf = (authorId: string) => `(SELECT count(*) FROM posts WHERE author_id = ${authorId})`

/** The number of a user's posts. A user without a row is counted. */
export const POST_COUNT = `SELECT coalesce((SELECT posts FROM post_counts WHERE post_counts.id = profiles.id),
  ${countOf('profiles.id')})`

/**
 * Counts a change of the user's posts, in its batch and before it, if the query finds a row. Only the user's own
 * requests write the count, so it is exact. The first change starts from the true count.
 */
export const countPost = (
  database: ShardDatabase,
  userId: string,
  change: 1 | -1,
  query = 'SELECT 1',
  ...values: string[]
): ShardStatement =>
  database
    .prepare(
      `INSERT INTO post_counts (id, posts)
       SELECT given.id, given.change + CASE WHEN counts.id IS NULL THEN ${countOf('given.id')} ELSE 0 END
       FROM (SELECT ? AS id, ? AS change) AS given LEFT JOIN post_counts AS counts ON counts.id = given.id
       WHERE EXISTS (${query})
       ON CONFLICT (id) DO UPDATE SET posts = post_counts.posts + excluded.posts`,
    )
    .bind(userId, change, ...values)

interface CountRow {
  id: string
  posts: number
}

const recount = (ownedHere: string) => `UPDATE post_counts SET posts = ${countOf('post_counts.id')}
  WHERE id IN (SELECT value FROM json_each(?)) AND ${ownedHere} AND posts <> ${countOf('post_counts.id')} RETURNING id`

/** Counts some users' posts again in each turn. */
export const postDuties = ({ shards, log }: DutyTools): Duty[] => [
  {
    name: 'posts.recounted',
    async run(window) {
      const { values: visits, failed } = await walk<CountRow>(
        shards,
        {
          duty: 'posts',
          tables: [{ name: 'post_counts', columns: 'id, posts' }],
          rowsMax: limits.repairRowsMax,
          statementsPerShard: 4,
        },
        window,
      )
      const onFailure = ({ shard, error }: ShardFailure) => log.error('posts.not-recounted', { shard, error })
      failed.forEach(onFailure)
      return workOff(visits, recountVisited, onFailure)
    },
  },
]

async function recountVisited({ shard, rows, advance }: WalkedRows<CountRow>): Promise<number> {
  const counted = upTo(rows, limits.repairCountedRowsMax, ({ posts }) => posts)
  const ids = JSON.stringify(counted.map(({ id }) => id))
  const { results } = await shard.run(recount(shard.ownedHere('post_counts.id')), ids)
  await advance(counted)
  return results.length
}
