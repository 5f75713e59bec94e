import { rfc3339 } from '../../core/clock.ts'
import { BanyanError } from '../../core/errors.ts'
import type { Session } from '../../sessions/sessions.ts'
import { rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { ShardDatabase } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import type { Self, User } from './shapes.ts'

export type ProfileTiers = Pick<Tiers, 'shards' | 'claims' | 'sessions' | 'clock' | 'userCounts'>

/** ASCII in either case. Other letters whose lower case is ASCII do not match. */
export const HANDLE = /^[a-z][a-z0-9_]{2,29}$/i

interface ProfileRow {
  id: string
  handle: string
  displayName: string
  bio: string
  createdAt: number
  followers: number
  following: number
  posts: number
}

interface SelfRow extends ProfileRow {
  email: string
  emailVerifiedAt: number | null
}

/** A count that no noun contributes is 0. */
const columns = ({ followers = 'SELECT 0', following = 'SELECT 0', posts = 'SELECT 0' }: Tiers['userCounts']) =>
  `profiles.id, handle, display_name AS displayName, bio, profiles.created_at AS createdAt,
  (${followers}) AS followers, (${following}) AS following, (${posts}) AS posts`

const toUser = (row: ProfileRow): User => ({
  id: row.id,
  handle: row.handle,
  displayName: row.displayName,
  bio: row.bio,
  avatar: null,
  createdAt: rfc3339(row.createdAt),
  followers: row.followers,
  following: row.following,
  posts: row.posts,
})

/**
 * The user with a handle, or null. Two queries: the claim names the user, and the user's shard has the profile. The
 * second compares the handle again, because the claim may be a reservation of a failed sign-up.
 */
async function findByHandle(tiers: ProfileTiers, text: string): Promise<User | null> {
  if (!HANDLE.test(text)) return null
  const handle = text.toLowerCase()
  const id = await tiers.claims.findOwner({ kind: 'handle', value: handle })
  if (!id) return null
  const row = await tiers.shards
    .of(id, { operation: 'profiles.find' })
    .prepare(`SELECT ${columns(tiers.userCounts)} FROM profiles WHERE id = ? AND handle = ?`)
    .bind(id, handle)
    .first<ProfileRow>()
  return row && toUser(row)
}

export async function getByHandle(tiers: ProfileTiers, handle: string): Promise<User> {
  const user = await findByHandle(tiers, handle)
  if (!user) throw new BanyanError('NOT_FOUND', 'No user has this handle. Check its spelling.')
  return user
}

const selfColumns = (counts: Tiers['userCounts']) =>
  `${columns(counts)}, email, email_verified_at AS emailVerifiedAt FROM profiles JOIN accounts ON accounts.id = profiles.id`

/** The user's own account. Throws SESSION_ENDED if it was deleted. */
export async function getSelf(
  { shards, userCounts }: Pick<Tiers, 'shards' | 'userCounts'>,
  userId: string,
): Promise<Self> {
  const answer = await shards
    .of(userId, { operation: 'profiles.self' })
    .prepare(`SELECT ${selfColumns(userCounts)} WHERE profiles.id = ?`)
    .bind(userId)
    .all<SelfRow>()
  return selfIn(answer)
}

/** The query of `getSelf`, for a batch with other reads of the user's slot. @public For nouns. */
export const selfQuery = (
  { userCounts }: Pick<Tiers, 'userCounts'>,
  database: ShardDatabase,
  userId: string,
): Typed<SelfRow> =>
  rowsOf<SelfRow>(database.prepare(`SELECT ${selfColumns(userCounts)} WHERE profiles.id = ?`).bind(userId))

/** The account in the answer to `selfQuery`. Throws SESSION_ENDED if there is none. @public For nouns. */
export function selfIn({ results: [row] }: D1Result<SelfRow>): Self {
  if (!row) throw new BanyanError('SESSION_ENDED', 'The account was deleted. Sign up for a new one.')
  return { ...toUser(row), email: row.email, emailVerified: row.emailVerifiedAt !== null }
}

/** Changes the public profile. Omitted fields stay unchanged. */
export async function updateProfile(
  tiers: ProfileTiers,
  session: Session,
  change: { displayName?: string | undefined; bio?: string | undefined },
): Promise<void> {
  await tiers.sessions
    .database(session, { operation: 'profiles.update' })
    .prepare(
      `UPDATE profiles SET display_name = coalesce(?, display_name), bio = coalesce(?, bio), version = version + 1
       WHERE id = ?`,
    )
    .bind(change.displayName ?? null, change.bio ?? null, session.userId)
    .run()
}
