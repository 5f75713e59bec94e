import { type LoadRead, noCache } from '../../cache/cache.ts'
import { cachePolicy } from '../../cache/entry.ts'
import { rfc3339 } from '../../core/clock.ts'
import { BanyanError, hasCode } from '../../core/errors.ts'
import { isId, slotOf } from '../../core/ids.ts'
import { present } from '../../core/present.ts'
import { outboxStatementIf } from '../../jobs/outbox.ts'
import { purgesOf } from '../../jobs/purges.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import { always, type ShardDatabase, type ShardStatement } from '../../sharding/shards.ts'
import { formatCursor, parseCursor } from '../../web/api.ts'
import type { Tiers } from '../../web/context.ts'
import {
  areUsable,
  avatarOf,
  mediaIn,
  mediaUsedBy,
  readyMedia,
  removePictures,
  usedPictures,
  usePictures,
} from '../media/uses.ts'
import { findName, type ProfileName, profileChanged, raiseVersion } from '../profiles/profiles.ts'
import { countPost } from './counts.ts'
import { noDraft } from './drafts.ts'
import { postTag } from './page-tags.ts'
import type { Post } from './shapes.ts'

export type PostTiers = Pick<
  Tiers,
  'shards' | 'sessions' | 'clock' | 'ids' | 'idempotency' | 'settings' | 'follow' | 'cache'
>

export const TEXT_CHARACTERS_MAX = 2_000

interface PostRow extends ProfileName {
  id: string
  text: string
  media: string // JSON
  createdAt: number
  editedAt: number | null
  version: number
}

interface PostPage {
  items: PostRow[]
  /** The sort key of the last item if there are more. */
  nextAfter: string | null
  /** Of the author's profile, when the page was read. */
  version: number
}

/** The row of an author without posts on the page. */
interface EmptyPage {
  id: null
  authorVersion: number
}

interface PageQuery {
  limit: number
  cursor?: string | undefined
}

const COLUMNS = `posts.id, text, posts.created_at AS createdAt, edited_at AS editedAt, posts.version, author_id AS authorId,
  handle, display_name AS displayName, profiles.version AS authorVersion,
  ${readyMedia('profiles.avatar_id')} AS avatarId, ${mediaUsedBy('posts.id')} AS media`

const SELECT_POSTS = `SELECT ${COLUMNS} FROM posts JOIN profiles ON profiles.id = author_id`

const minute = { ttlMs: 60_000, staleWhileRevalidateMs: 60_000, graceMs: 300_000 }

/**
 * A post may be shown a minute late. It shows its author's name and pictures, which raise the author's version.
 */
const cachedPost = cachePolicy<PostRow>({
  ...minute,
  negativeTtlMs: 10_000,
  version: ({ version, authorVersion }) => version + authorVersion,
})

/** A page of a list. It is read after the version in its key, so it may be of a later one. */
const cachedPage = cachePolicy<PostPage>({ ...minute, negativeTtlMs: 0, version: ({ version }) => version })

/** Keys in the cache. Their form is 2. */
const postKey = (id: string) => `post.2:${id}`
const pageKey = (author: Author, { limit, after }: { limit: number; after: string | null }) =>
  `posts.2:${author.id}:${author.version}:${limit}:${after ?? ''}`

const toPost = (row: PostRow): Post => ({
  id: row.id,
  author: { id: row.authorId, handle: row.handle, displayName: row.displayName, avatar: avatarOf(row.avatarId) },
  text: row.text,
  media: mediaIn(row.media),
  createdAt: rfc3339(row.createdAt),
  editedAt: row.editedAt === null ? null : rfc3339(row.editedAt),
  version: row.version,
})

/** One query, because a post and its author's profile are in the author's slot. */
const loadPost = ({ shards }: Pick<Tiers, 'shards'>, id: string, read: LoadRead): Promise<PostRow | null> =>
  shards
    .of(id, { operation: 'posts.find', read })
    .prepare(`${SELECT_POSTS} WHERE posts.id = ?`)
    .bind(id)
    .first<PostRow>()

export async function findPost(tiers: Pick<Tiers, 'shards' | 'cache'>, id: string): Promise<Post | null> {
  if (!isId(id)) return null
  const load = (read: LoadRead) => loadPost(tiers, id, read)
  const row = await tiers.cache.read(postKey(id), { ...cachedPost, owner: id, load })
  return row && toPost(row)
}

export async function getPost(tiers: Pick<Tiers, 'shards' | 'cache'>, id: string): Promise<Post> {
  const post = await findPost(tiers, id)
  if (!post) throw noSuchPost()
  return post
}

/** The author of a list, with the version of their profile, which counts every change of the list. */
interface Author {
  id: string
  version: number
}

/** A user's posts, newest first. The ids of one user's posts sort by time. */
export async function listPosts(tiers: Pick<Tiers, 'shards' | 'cache'>, author: Author, { limit, cursor }: PageQuery) {
  const after = parseCursor(cursor, (key) => isId(key) && slotOf(key) === slotOf(author.id))
  const load = (read: LoadRead) => loadPage(tiers, author.id, { limit, after }, read)
  const options = { ...cachedPage, owner: author.id, load }
  const { items, nextAfter } = present(await tiers.cache.read(pageKey(author, { limit, after }), options), 'a page')
  return { items: items.map(toPost), next: nextAfter && formatCursor(nextAfter) }
}

/** The user's own posts, which no cache serves. */
export const listOwnPosts = (tiers: Pick<Tiers, 'shards'>, userId: string, query: PageQuery) =>
  listPosts({ ...tiers, cache: noCache }, { id: userId, version: 0 }, query)

async function loadPage(
  { shards }: Pick<Tiers, 'shards'>,
  authorId: string,
  { limit, after }: { limit: number; after: string | null },
  read: LoadRead,
): Promise<PostPage> {
  const { results } = await shards
    .of(authorId, { operation: 'posts.list', read })
    .prepare(
      `SELECT ${COLUMNS} FROM profiles LEFT JOIN posts ON author_id = profiles.id AND posts.id < ?
       WHERE profiles.id = ? ORDER BY posts.id DESC LIMIT ?`,
    )
    .bind(after ?? `${slotOf(authorId)}~`, authorId, limit + 1)
    .all<PostRow | EmptyPage>()
  const rows = results.filter((row): row is PostRow => row.id !== null)
  const items = rows.slice(0, limit)
  const nextAfter = rows.length > limit ? (items.at(-1)?.id ?? null) : null
  return { items, nextAfter, version: results[0]?.authorVersion ?? 0 }
}

interface NewPostOptions {
  /** The same batch removes the session's draft. */
  isDraft?: boolean
  /** The pictures, in order. */
  mediaIds?: readonly string[]
  /** Descriptions by id. A picture that is not named keeps its own. */
  alts?: Readonly<Record<string, string>>
}

const noPictures = '[]'

/**
 * Publishes a post. With an Idempotency-Key, retries create no second post and get the first answer. Throws INVALID if a
 * picture is not the author's, was refused, or is used already; then nothing was written.
 */
export async function createPost(
  tiers: PostTiers,
  session: Session,
  text: string,
  retry: RetryKey | null,
  { isDraft = false, mediaIds = [], alts = {} }: NewPostOptions = {},
): Promise<Post> {
  const { sessions, ids, clock, idempotency } = tiers
  const { userId } = session
  const drawn = { id: ids.ownedId(userId), createdAt: clock.now() }
  const database = sessions.database(session, { operation: 'posts.create' })
  const author = raiseVersion(database, userId)
  const kept = { status: 201, answer: drawn }
  const outcome = await onlyUsablePictures(
    idempotency.once(userId, retry, database, kept, (statements) =>
      batchByName(database, {
        statements,
        counted: countPost(database, userId, 1),
        posted: postStatement(database, { ...drawn, userId, text, mediaIds }),
        used:
          mediaIds.length > 0
            ? [usePictures(database, { ids: mediaIds, ownerId: userId, usedBy: drawn.id, alts })]
            : [],
        pictures: mediaIds.length > 0 ? [usedPictures(database, drawn.id)] : [],
        cleared: isDraft ? [sessions.dataChange(database, session, noDraft)] : [],
        author,
      }),
    ),
  )
  const first = 'kept' in outcome ? outcome.kept.answer : drawn
  const [written] = 'kept' in outcome ? [] : outcome.committed.author.results
  const by = written ?? (await findName(tiers, userId))
  if (!by) throw new BanyanError('SESSION_ENDED', 'The account was deleted. Sign up for a new one.')
  profileChanged(tiers, by.handle)
  const media =
    'kept' in outcome
      ? await picturesOf(tiers, first.id, mediaIds)
      : (outcome.committed.pictures[0]?.results[0]?.media ?? noPictures)
  return toPost({ ...first, ...by, text, media, editedAt: null, version: 1 })
}

interface NewPost {
  id: string
  createdAt: number
  userId: string
  text: string
  mediaIds: readonly string[]
}

/** If a picture is not usable, the version is null, which the table refuses. So the whole batch is rolled back. */
function postStatement(database: ShardDatabase, { id, createdAt, userId, text, mediaIds }: NewPost): ShardStatement {
  const { sql, values } = mediaIds.length > 0 ? areUsable(mediaIds, userId, id) : always
  return database
    .prepare(
      `INSERT INTO posts (id, author_id, text, created_at, edited_at, version)
       SELECT ?, ?, ?, ?, NULL, iif(${sql}, 1, NULL)`,
    )
    .bind(id, userId, text, createdAt, ...values)
}

async function onlyUsablePictures<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!hasCode(error, 'DATABASE_CONSTRAINT') || !error.message.includes('NOT NULL constraint failed: posts.version'))
      throw error
    const detail = 'A picture cannot be used. Upload pictures of your own, and use each for one post only.'
    throw new BanyanError('INVALID', detail, { cause: error, errors: [{ pointer: '/mediaIds', detail }] })
  }
}

/** The pictures of a post that an earlier request has published. */
async function picturesOf({ shards }: PostTiers, id: string, mediaIds: readonly string[]): Promise<string> {
  if (mediaIds.length === 0) return noPictures
  const media = await shards
    .of(id, { operation: 'posts.pictures', read: 'exact' })
    .prepare(`SELECT ${mediaUsedBy('?')} AS media`)
    .bind(id)
    .first<string>('media')
  return media ?? noPictures
}

/**
 * Replaces the text of the user's own post and raises its version. Throws NOT_FOUND, or FORBIDDEN for another's post.
 */
export async function editPost(tiers: PostTiers, session: Session, id: string, text: string): Promise<Post> {
  const { sessions, clock } = tiers
  await refuseUnlessMayBeOwn(tiers, session, id)
  const database = sessions.database(session, { operation: 'posts.edit' })
  const { edited, found } = await batchByName(database, {
    author: raiseVersion(database, session.userId),
    edited: database
      .prepare('UPDATE posts SET text = ?, edited_at = ?, version = version + 1 WHERE id = ? AND author_id = ?')
      .bind(text, clock.now(), id, session.userId),
    found: rowsOf<PostRow>(database.prepare(`${SELECT_POSTS} WHERE posts.id = ?`).bind(id)),
  })
  const [post] = found.results
  if (!post) throw noSuchPost()
  if (edited.meta.changes === 0) throw notYours()
  tiers.cache.write(postKey(id), post, cachedPost)
  profileChanged(tiers, post.handle)
  return toPost(post)
}

/** Deletes the user's own post. Throws NOT_FOUND, or FORBIDDEN for another's post. */
export async function deletePost(tiers: PostTiers, session: Session, id: string): Promise<void> {
  const { sessions, follow } = tiers
  await refuseUnlessMayBeOwn(tiers, session, id)
  const database = sessions.database(session, { operation: 'posts.delete' })
  const purges = purgesOf(tiers, session.userId, postTag(id))
  const own = 'SELECT 1 FROM posts WHERE id = ? AND author_id = ?'
  const removal = removePictures(tiers, database, session.userId, { sql: 'media.used_by = ?', values: [id] })
  const { author, pictureJob, deleted, left } = await batchByName(database, {
    author: raiseVersion(database, session.userId),
    purges: purges.map((job) => outboxStatementIf(database, job, own, id, session.userId)),
    counted: countPost(database, session.userId, -1, own, id, session.userId),
    ...removal.statements,
    deleted: database.prepare('DELETE FROM posts WHERE id = ? AND author_id = ?').bind(id, session.userId),
    left: database.prepare('SELECT 1 FROM posts WHERE id = ?').bind(id),
  })
  if (deleted.meta.changes === 0) throw left.results.length === 1 ? notYours() : noSuchPost()
  follow(purges)
  removal.follow(pictureJob)
  tiers.cache.write(postKey(id), null, cachedPost)
  for (const { handle } of author.results) profileChanged(tiers, handle)
}

/** Throws for a post in another slot, which cannot be the user's own: FORBIDDEN if it exists, otherwise NOT_FOUND. */
async function refuseUnlessMayBeOwn(tiers: PostTiers, session: Session, id: string): Promise<void> {
  if (!isId(id)) throw noSuchPost()
  if (slotOf(id) === slotOf(session.userId)) return
  throw (await findPost(tiers, id)) ? notYours() : noSuchPost()
}

const noSuchPost = () => new BanyanError('NOT_FOUND', 'There is no post with this id. It may have been deleted.')
const notYours = () => new BanyanError('FORBIDDEN', 'Only its author may change a post. Sign in as its author.')
