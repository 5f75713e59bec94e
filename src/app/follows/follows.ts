import { BanyanError } from '../../core/errors.ts'
import { isId } from '../../core/ids.ts'
import { type Job, newJob, outboxStatementFrom } from '../../jobs/outbox.ts'
import type { Session } from '../../sessions/sessions.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import type { ShardDatabase } from '../../sharding/shards.ts'
import { formatCursor, parseCursor } from '../../web/api.ts'
import type { Tiers } from '../../web/context.ts'
import { findUsers, profileChanged } from '../profiles/profiles.ts'
import type { User } from '../profiles/shapes.ts'
import { COUNT_FOLLOWING, countsIn, sideOf } from './edges.ts'

export type FollowTiers = Pick<Tiers, 'shards' | 'sessions' | 'clock' | 'ids' | 'follow' | 'cache'>

export const EDGE_CHANGED = 'follows.changed'

/** The people that one account may follow. */
const FOLLOWS_MAX = 5_000

/** The decision. Its row has the body of the job, so that the job's row exists if and only if the edge changes. */
const BEGIN = `SELECT json_object('followeeId', given.followee, 'followedAt', given.now, 'endedAt', NULL,
    'version', max(coalesce(known.version, 0) + 1, given.now)) AS body
  FROM (SELECT ? AS follower, ? AS followee, ? AS now) AS given
  LEFT JOIN follows AS known ON known.id = given.follower || '.' || given.followee
  WHERE (known.id IS NULL OR known.ended_at IS NOT NULL)
    AND coalesce((SELECT following FROM follow_counts WHERE id = given.follower), ${countsIn('given.follower').following}) < ?`

const END = `SELECT json_object('followeeId', known.followee_id, 'followedAt', known.followed_at, 'endedAt', given.now,
    'version', max(known.version + 1, given.now)) AS body
  FROM (SELECT ? AS follower, ? AS followee, ? AS now) AS given
  JOIN follows AS known ON known.id = given.follower || '.' || given.followee WHERE known.ended_at IS NULL`

/** The edge as the job's row has it. */
const KEEP = `INSERT INTO follows (id, follower_id, followee_id, followed_at, ended_at, version)
  SELECT ?, owner_id, body ->> 'followeeId', body ->> 'followedAt', body ->> 'endedAt', body ->> 'version'
  FROM outbox WHERE id = ?
  ON CONFLICT (id) DO UPDATE SET followed_at = excluded.followed_at, ended_at = excluded.ended_at,
    version = excluded.version`

const SELECT_FOLLOWED = 'SELECT 1 FROM follows WHERE id = ? AND ended_at IS NULL'

/** Follows a user. Changes nothing if the session's user already does. Throws INVALID, or LIMIT_REACHED beyond `max`. */
export async function follow(
  tiers: FollowTiers,
  session: Session,
  followeeId: string,
  max = FOLLOWS_MAX,
): Promise<void> {
  if (followeeId === session.userId)
    throw new BanyanError('INVALID', 'You cannot follow yourself. Follow somebody else.')
  const { job, database, edge } = begin(tiers, session, followeeId, 'follows.follow')
  const { queued, own, found } = await batchByName(database, {
    queued: outboxStatementFrom(database, job, BEGIN, ...edge, max),
    ...changed(database, job, followeeId, 1),
    found: database.prepare(SELECT_FOLLOWED).bind(sideOf({ followerId: session.userId, followeeId })),
  })
  if (found.results.length === 0)
    throw new BanyanError(
      'LIMIT_REACHED',
      `An account follows at most ${max.toLocaleString('en')} people. Unfollow somebody first.`,
    )
  committed(tiers, job, queued, own)
}

/** Ends a follow. Changes nothing if the session's user does not follow the user. */
export async function unfollow(tiers: FollowTiers, session: Session, followeeId: string): Promise<void> {
  const { job, database, edge } = begin(tiers, session, followeeId, 'follows.unfollow')
  const { queued, own } = await batchByName(database, {
    queued: outboxStatementFrom(database, job, END, ...edge),
    ...changed(database, job, followeeId, -1),
  })
  committed(tiers, job, queued, own)
}

function begin({ sessions, clock, ids }: FollowTiers, session: Session, followeeId: string, operation: string) {
  const job = newJob(ids, clock, session.userId, EDGE_CHANGED, {})
  return {
    job,
    database: sessions.database(session, { operation }),
    edge: [session.userId, followeeId, job.createdAt] as const,
  }
}

/** The statements that follow the decision. They write nothing if there is no row of the job. */
const changed = (database: ShardDatabase, job: Job, followeeId: string, change: 1 | -1) => ({
  counted: database.prepare(COUNT_FOLLOWING).bind(change, job.id),
  kept: database.prepare(KEEP).bind(sideOf({ followerId: job.ownerId, followeeId }), job.id),
  own: rowsOf<{ handle: string }>(database.prepare('SELECT handle FROM profiles WHERE id = ?').bind(job.ownerId)),
})

function committed(
  tiers: FollowTiers,
  job: Job,
  { results: [queued] }: D1Result<{ body: string }>,
  { results: [own] }: D1Result<{ handle: string }>,
): void {
  if (!queued) return
  tiers.follow([{ ...job, body: JSON.parse(queued.body) }])
  if (own) profileChanged(tiers, own.handle)
}

export const isFollowing = async ({ shards }: Pick<Tiers, 'shards'>, followerId: string, followeeId: string) =>
  (await shards
    .of(followerId, { operation: 'follows.is-following' })
    .prepare(SELECT_FOLLOWED)
    .bind(sideOf({ followerId, followeeId }))
    .first()) !== null

// ── lists ───────────────────────────────────────────────────────────────────────────────────────

interface PageQuery {
  limit: number
  cursor?: string | undefined
}

interface PageRow {
  followedAt: number
  personId: string
}

type ListName = 'followers' | 'following'

const lists: Record<ListName, { table: string; own: string; person: string }> = {
  followers: { table: 'followers', own: 'followee_id', person: 'follower_id' },
  following: { table: 'follows', own: 'follower_id', person: 'followee_id' },
}

/**
 * The people of a list, newest first. The list is in the user's shard. Its people may be in any shard, and each shard
 * gets at most one query for them. Omits people whose accounts were deleted.
 */
export async function listPeople(
  tiers: Pick<Tiers, 'shards' | 'cache' | 'userCounts'>,
  name: ListName,
  userId: string,
  { limit, cursor }: PageQuery,
): Promise<{ items: User[]; next: string | null }> {
  const { table, own, person } = lists[name]
  const after = parseCursor(cursor, isSortKey)
  const [time = '', id = ''] = after?.split('.') ?? []
  const { results } = await tiers.shards
    .of(userId, { operation: `follows.${name}` })
    .prepare(
      `SELECT followed_at AS followedAt, ${person} AS personId FROM ${table}
       WHERE ${own} = ? AND ended_at IS NULL ${after === null ? '' : `AND (followed_at, ${person}) < (?, ?)`}
       ORDER BY followed_at DESC, ${person} DESC LIMIT ?`,
    )
    .bind(userId, ...(after === null ? [] : [Number(time), id]), limit + 1)
    .all<PageRow>()
  const rows = results.slice(0, limit)
  const people = await findUsers(
    tiers,
    rows.map(({ personId }) => personId),
  )
  const last = results.length > limit ? rows.at(-1) : undefined
  return {
    items: rows.flatMap(({ personId }) => people.get(personId) ?? []),
    next: last ? formatCursor(`${last.followedAt}.${last.personId}`) : null,
  }
}

function isSortKey(key: string): boolean {
  const [time = '', id = '', ...rest] = key.split('.')
  return /^\d{1,15}$/.test(time) && isId(id) && rest.length === 0
}
