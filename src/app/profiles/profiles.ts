import type { LoadRead } from '../../cache/cache.ts'
import { cachePolicy } from '../../cache/entry.ts'
import { rfc3339 } from '../../core/clock.ts'
import { BanyanError } from '../../core/errors.ts'
import type { Session } from '../../sessions/sessions.ts'
import { batchByName, rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { ShardDatabase } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import type { PictureChanged } from '../media/media.ts'
import { areUsable, avatarOf, readyMedia, removePictures, usePictures } from '../media/uses.ts'
import { searchName } from './names.ts'
import type { Self, User } from './shapes.ts'

export type ProfileTiers = Pick<
  Tiers,
  'shards' | 'claims' | 'sessions' | 'clock' | 'ids' | 'follow' | 'userCounts' | 'cache'
>

/** ASCII in either case. Other letters whose lower case is ASCII do not match. */
export const HANDLE = /^[a-z][a-z0-9_]{2,29}$/i

/** The start of a handle, in lower case. @public For nouns. */
export const HANDLE_CHARACTERS = /^[a-z][a-z0-9_]{0,29}$/

/** @public For nouns. */
export interface ProfileRow {
  id: string
  handle: string
  displayName: string
  bio: string
  createdAt: number
  followers: number
  following: number
  posts: number
  version: number
  avatarId: string | null
}

interface SelfRow extends ProfileRow {
  email: string
  emailVerifiedAt: number | null
}

const AVATAR = `${readyMedia('profiles.avatar_id')} AS avatarId`

/** The columns of `toUser`, from `profiles`. A count that no noun contributes is 0. @public For nouns. */
export const userColumns = ({
  followers = 'SELECT 0',
  following = 'SELECT 0',
  posts = 'SELECT 0',
}: Tiers['userCounts']) =>
  `profiles.id, handle, display_name AS displayName, bio, profiles.created_at AS createdAt, profiles.version AS version,
  (${followers}) AS followers, (${following}) AS following, (${posts}) AS posts, ${AVATAR}`

/** A user of `userColumns`. @public For nouns. */
export const toUser = (row: ProfileRow): User => ({
  id: row.id,
  handle: row.handle,
  displayName: row.displayName,
  bio: row.bio,
  avatar: avatarOf(row.avatarId),
  createdAt: rfc3339(row.createdAt),
  followers: row.followers,
  following: row.following,
  posts: row.posts,
})

/** A profile may be a minute old, because its owner sees changes at once, and it decides nothing. */
const cachedProfile = cachePolicy<ProfileRow>({
  ttlMs: 60_000,
  staleWhileRevalidateMs: 60_000,
  graceMs: 300_000,
  negativeTtlMs: 10_000, // a handle may be taken by a new user
  version: ({ version }) => version,
})

/** The key of a profile in the cache. Its form is 2. */
const profileKey = (handle: string) => `profile.2:${handle}`

/**
 * The profile with a handle, or null. Two queries: the claim names the user, and the user's shard has the profile. The
 * second compares the handle again, because the claim may be a reservation of a failed sign-up.
 */
async function loadByHandle(tiers: ProfileTiers, handle: string, read: LoadRead): Promise<ProfileRow | null> {
  const id = await tiers.claims.findOwner({ kind: 'handle', value: handle }, read)
  if (!id) return null
  return tiers.shards
    .of(id, { operation: 'profiles.find', read })
    .prepare(`SELECT ${userColumns(tiers.userCounts)} FROM profiles WHERE id = ? AND handle = ?`)
    .bind(id, handle)
    .first<ProfileRow>()
}

/** A user, and the version of their profile, which rises with every change of a list whose noun calls `raiseVersion`. */
export interface Profile {
  user: User
  version: number
}

export async function getByHandle(tiers: ProfileTiers, text: string): Promise<Profile> {
  const handle = text.toLowerCase()
  const row = HANDLE.test(text)
    ? await tiers.cache.read(profileKey(handle), {
        ...cachedProfile,
        owner: ({ id }) => id,
        load: (read) => loadByHandle(tiers, handle, read),
      })
    : null
  if (!row) throw new BanyanError('NOT_FOUND', 'No user has this handle. Check its spelling.')
  return { user: toUser(row), version: row.version }
}

const userKey = (id: string) => `user.2:${id}`
const idIn = (key: string) => key.slice(userKey('').length)

/**
 * The users with these ids, from the cache, and the others in one exact query per shard. Users that do not exist are
 * omitted. @public For nouns.
 */
export async function findUsers(
  { shards, cache, userCounts }: Pick<Tiers, 'shards' | 'cache' | 'userCounts'>,
  ids: readonly string[],
): Promise<Map<string, User>> {
  const load = async (keys: string[]) => {
    const { answers, failed } = await shards.group(
      keys.map((key) => ({ key: idIn(key) })),
      { keyspace: 'users', operation: 'profiles.find-many', isRead: true },
      (database, some) => ({
        found: rowsOf<ProfileRow>(
          database
            .prepare(`SELECT ${userColumns(userCounts)} FROM profiles WHERE id IN (SELECT value FROM json_each(?))`)
            .bind(JSON.stringify(some.map(({ key }) => key))),
        ),
      }),
    )
    for (const error of failed.values()) throw error
    return new Map(answers.flatMap(({ found }) => found.results.map((row) => [userKey(row.id), row])))
  }
  const rows = await cache.readMany(ids.map(userKey), { ...cachedProfile, owner: idIn, load })
  return new Map([...rows.values()].map((row) => [row.id, toUser(row)]))
}

/** The columns of `ProfileName`. */
const NAME_COLUMNS = `id AS authorId, handle, display_name AS displayName, version AS authorVersion, ${AVATAR}`

/**
 * The statement of a noun that changes what a profile counts or what its lists contain. It goes into the batch of the
 * change, and `profileChanged` follows the commit.
 *
 * @public For nouns.
 */
export const raiseVersion = (database: ShardDatabase, userId: string) =>
  rowsOf<ProfileName>(
    database
      .prepare(
        `UPDATE profiles SET version = version + 1 WHERE id = ?
         RETURNING ${NAME_COLUMNS}`,
      )
      .bind(userId),
  )

/** The name of a user, or null if the account was deleted. @public For nouns. */
export const findName = ({ shards }: Pick<Tiers, 'shards'>, userId: string): Promise<ProfileName | null> =>
  shards
    .of(userId, { operation: 'profiles.name' })
    .prepare(`SELECT ${NAME_COLUMNS} FROM profiles WHERE id = ?`)
    .bind(userId)
    .first<ProfileName>()

/** Call after the commit of a change to a profile. */
export const profileChanged = ({ cache }: Pick<Tiers, 'cache'>, handle: string): void =>
  cache.invalidate(profileKey(handle))

const selfColumns = (counts: Tiers['userCounts']) =>
  `${userColumns(counts)}, email, email_verified_at AS emailVerifiedAt FROM profiles JOIN accounts ON accounts.id = profiles.id`

/** The user's own account. Throws SESSION_ENDED if it was deleted. */
export async function getSelf(
  { shards, userCounts }: Pick<Tiers, 'shards' | 'userCounts'>,
  userId: string,
): Promise<Self> {
  const ask = (read: LoadRead) =>
    shards
      .of(userId, { operation: 'profiles.self', read })
      .prepare(`SELECT ${selfColumns(userCounts)} WHERE profiles.id = ?`)
      .bind(userId)
      .all<SelfRow>()
  const answer = await ask('lease')
  // A replica may not have a new account yet.
  return selfIn(answer.results.length > 0 ? answer : await ask('exact'))
}

/** The query of `getSelf`, for a batch with other reads of the user's slot. */
export const selfQuery = (
  { userCounts }: Pick<Tiers, 'userCounts'>,
  database: ShardDatabase,
  userId: string,
): Typed<SelfRow> =>
  rowsOf<SelfRow>(database.prepare(`SELECT ${selfColumns(userCounts)} WHERE profiles.id = ?`).bind(userId))

/** The account in the answer to `selfQuery`. Throws SESSION_ENDED if there is none. */
export function selfIn({ results: [row] }: D1Result<SelfRow>): Self {
  if (!row) throw new BanyanError('SESSION_ENDED', 'The account was deleted. Sign up for a new one.')
  return { ...toUser(row), email: row.email, emailVerified: row.emailVerifiedAt !== null }
}

/** The name of a user in what they own, and the version of their profile. @public For nouns. */
export interface ProfileName {
  authorId: string
  handle: string
  displayName: string
  authorVersion: number
  avatarId: string | null
}

export interface ProfileChange {
  displayName?: string | undefined
  bio?: string | undefined
  /** A picture, or null for none. */
  avatarId?: string | null | undefined
}

/**
 * Changes the public profile. Omitted fields stay unchanged. The previous avatar is deleted. Throws INVALID if the avatar
 * is no picture that the user can use.
 */
export async function updateProfile(tiers: ProfileTiers, session: Session, change: ProfileChange): Promise<void> {
  const { displayName, avatarId } = change
  const { userId } = session
  const database = tiers.sessions.database(session, { operation: 'profiles.update' })
  const avatar = avatarId === undefined ? null : avatarChange(tiers, database, userId, avatarId)
  const { pictureJob, changed } = await batchByName(database, {
    pictureJob: avatar ? [avatar.removed.pictureJob] : [],
    pictures: avatar ? [avatar.removed.pictures] : [],
    changed: rowsOf<{ handle: string }>(
      database
        .prepare(
          `UPDATE profiles SET display_name = coalesce(?1, display_name), bio = coalesce(?2, bio), version = version + 1,
             search_name = iif(?1 IS NULL, search_name, ?3), avatar_id = iif(?5, ?6, avatar_id)
           WHERE id = ?4 AND (NOT ?5 OR ?6 IS NULL OR ${avatar?.usable.sql ?? '1'})
           RETURNING handle`,
        )
        .bind(
          displayName ?? null,
          change.bio ?? null,
          searchName(displayName ?? ''),
          userId,
          avatar ? 1 : 0,
          avatarId ?? null,
          ...(avatar?.usable.values ?? []),
        ),
    ),
    used: avatar?.after ?? [],
  })
  const [row] = changed.results
  if (avatarId && !row) throw unusableAvatar()
  for (const answer of pictureJob) avatar?.follow(answer)
  if (row) profileChanged(tiers, row.handle)
}

/** The statements that replace the avatar, around the change of the profile. */
function avatarChange(tiers: ProfileTiers, database: ShardDatabase, userId: string, avatarId: string | null) {
  const usable = avatarId === null ? { sql: '1', values: [] } : areUsable([avatarId], userId, userId)
  const { statements, follow } = removePictures(tiers, database, userId, {
    sql: `media.used_by = ? AND media.id IS NOT ? AND ${usable.sql}`,
    values: [userId, avatarId, ...usable.values],
  })
  const isSet = { sql: 'EXISTS (SELECT 1 FROM profiles WHERE id = ? AND avatar_id = ?)', values: [userId, avatarId] }
  const after =
    avatarId === null ? [] : [usePictures(database, { ids: [avatarId], ownerId: userId, usedBy: userId }, isSet)]
  return { usable, removed: statements, after, follow }
}

function unusableAvatar(): BanyanError {
  const detail = 'This picture cannot be used. Upload a picture of your own, and use it for one thing only.'
  return new BanyanError('INVALID', detail, { errors: [{ pointer: '/avatarId', detail }] })
}

/** What shows a picture names its owner, whose version counts. So caches learn of a picture that is ready. */
export const pictureChanged: PictureChanged = (database, { id, ownerId }) => [
  database
    .prepare(
      `UPDATE profiles SET version = version + 1
       WHERE id = ? AND EXISTS (SELECT 1 FROM media WHERE media.id = ? AND used_by IS NOT NULL)`,
    )
    .bind(ownerId, id),
]
