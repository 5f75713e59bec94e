import { isNotNull, isNull } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

const columns = {
  followerId: text('follower_id').notNull(),
  followeeId: text('followee_id').notNull(),
  followedAt: integer('followed_at').notNull(),
  endedAt: integer('ended_at'), // not null: the row is a tombstone
  version: integer().notNull(), // rises with each change; at least the time of the change
}

/** The follower's side of each edge. It is the truth. Times are milliseconds. */
export const follows = sharded(
  'users',
  sqliteTable('follows', { id: text().primaryKey().notNull() /* <follower>.<followee> */, ...columns }, (table) => [
    index('follows_newest').on(table.followerId, table.followedAt, table.followeeId).where(isNull(table.endedAt)),
    index('follows_ended').on(table.endedAt).where(isNotNull(table.endedAt)),
  ]),
)

/** The followee's side, a copy. */
export const followers = sharded(
  'users',
  sqliteTable('followers', { id: text().primaryKey().notNull() /* <followee>.<follower> */, ...columns }, (table) => [
    index('followers_newest').on(table.followeeId, table.followedAt, table.followerId).where(isNull(table.endedAt)),
    index('followers_ended').on(table.endedAt).where(isNotNull(table.endedAt)),
  ]),
)

/** `id` is the user's id. A user without a row is counted. */
export const followCounts = sharded(
  'users',
  sqliteTable('follow_counts', {
    id: text().primaryKey().notNull(),
    followers: integer().notNull(),
    following: integer().notNull(),
  }),
)
