import { rfc3339 } from '../../core/clock.ts'
import { BanyanError } from '../../core/errors.ts'
import { isId, slotOf } from '../../core/ids.ts'
import { outboxStatementIf } from '../../jobs/outbox.ts'
import { purgesOf } from '../../jobs/purges.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import { formatCursor, parseCursor } from '../../web/api.ts'
import type { Tiers } from '../../web/context.ts'
import { postTag } from './page-tags.ts'
import type { Post } from './shapes.ts'

export type PostTiers = Pick<Tiers, 'shards' | 'sessions' | 'clock' | 'ids' | 'idempotency' | 'settings' | 'follow'>

export const TEXT_CHARACTERS_MAX = 2_000

interface AuthorRow {
  authorId: string
  handle: string
  displayName: string
}

interface PostRow extends AuthorRow {
  id: string
  text: string
  createdAt: number
  editedAt: number | null
  version: number
}

const SELECT_POSTS = `SELECT posts.id, text, posts.created_at AS createdAt, edited_at AS editedAt, posts.version, author_id AS authorId,
  handle, display_name AS displayName FROM posts JOIN profiles ON profiles.id = author_id`

const toPost = (row: PostRow): Post => ({
  id: row.id,
  author: { id: row.authorId, handle: row.handle, displayName: row.displayName, avatar: null },
  text: row.text,
  media: [],
  createdAt: rfc3339(row.createdAt),
  editedAt: row.editedAt === null ? null : rfc3339(row.editedAt),
  version: row.version,
})

/** One query, because a post and its author's profile are in the author's slot. */
export async function findPost({ shards }: Pick<Tiers, 'shards'>, id: string): Promise<Post | null> {
  if (!isId(id)) return null
  const row = await shards
    .of(id, { operation: 'posts.find' })
    .prepare(`${SELECT_POSTS} WHERE posts.id = ?`)
    .bind(id)
    .first<PostRow>()
  return row && toPost(row)
}

export async function getPost(tiers: Pick<Tiers, 'shards'>, id: string): Promise<Post> {
  const post = await findPost(tiers, id)
  if (!post) throw noSuchPost()
  return post
}

/** A user's posts, newest first. The ids of one user's posts sort by time. */
export async function listPosts(
  { shards }: Pick<Tiers, 'shards'>,
  authorId: string,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<{ items: Post[]; next: string | null }> {
  const before = parseCursor(cursor, (key) => isId(key) && slotOf(key) === slotOf(authorId))
  const { results } = await shards
    .of(authorId, { operation: 'posts.list' })
    .prepare(`${SELECT_POSTS} WHERE author_id = ? AND posts.id < ? ORDER BY posts.id DESC LIMIT ?`)
    .bind(authorId, before ?? `${slotOf(authorId)}~`, limit + 1)
    .all<PostRow>()
  const items = results.slice(0, limit).map(toPost)
  const last = items.at(-1)
  return { items, next: last && results.length > limit ? formatCursor(last.id) : null }
}

/** Publishes a post. With an Idempotency-Key, retries create no second post and get the first answer. */
export async function createPost(
  tiers: PostTiers,
  session: Session,
  text: string,
  retry: RetryKey | null,
): Promise<Post> {
  const { sessions, ids, clock, idempotency } = tiers
  const { userId } = session
  const drawn = { id: ids.ownedId(userId), createdAt: clock.now() }
  const database = sessions.database(session, { operation: 'posts.create' })
  const author = rowsOf<AuthorRow>(
    database
      .prepare('SELECT id AS authorId, handle, display_name AS displayName FROM profiles WHERE id = ?')
      .bind(userId),
  )
  const kept = { status: 201, answer: drawn }
  const outcome = await idempotency.once(userId, retry, database, kept, (statements) =>
    batchByName(database, {
      statements,
      posted: database
        .prepare('INSERT INTO posts (id, author_id, text, created_at, edited_at, version) VALUES (?, ?, ?, ?, NULL, 1)')
        .bind(drawn.id, userId, text, drawn.createdAt),
      author,
    }),
  )
  const first = 'kept' in outcome ? outcome.kept.answer : drawn
  const [written] = 'kept' in outcome ? [] : outcome.committed.author.results
  const by = written ?? (await author.first<AuthorRow>())
  if (!by) throw new BanyanError('SESSION_ENDED', 'The account was deleted. Sign up for a new one.')
  return toPost({ ...first, ...by, text, editedAt: null, version: 1 })
}

/**
 * Replaces the text of the user's own post and raises its version. Throws NOT_FOUND, or FORBIDDEN for another's post.
 */
export async function editPost(tiers: PostTiers, session: Session, id: string, text: string): Promise<Post> {
  const { sessions, clock } = tiers
  await refuseUnlessMayBeOwn(tiers, session, id)
  const database = sessions.database(session, { operation: 'posts.edit' })
  const { edited, found } = await batchByName(database, {
    edited: database
      .prepare('UPDATE posts SET text = ?, edited_at = ?, version = version + 1 WHERE id = ? AND author_id = ?')
      .bind(text, clock.now(), id, session.userId),
    found: rowsOf<PostRow>(database.prepare(`${SELECT_POSTS} WHERE posts.id = ?`).bind(id)),
  })
  const [post] = found.results
  if (!post) throw noSuchPost()
  if (edited.meta.changes === 0) throw notYours()
  return toPost(post)
}

/** Deletes the user's own post. Throws NOT_FOUND, or FORBIDDEN for another's post. */
export async function deletePost(tiers: PostTiers, session: Session, id: string): Promise<void> {
  const { sessions, follow } = tiers
  await refuseUnlessMayBeOwn(tiers, session, id)
  const database = sessions.database(session, { operation: 'posts.delete' })
  const purges = purgesOf(tiers, session.userId, postTag(id))
  const own = 'SELECT 1 FROM posts WHERE id = ? AND author_id = ?'
  const { deleted, left } = await batchByName(database, {
    purges: purges.map((job) => outboxStatementIf(database, job, own, id, session.userId)),
    deleted: database.prepare('DELETE FROM posts WHERE id = ? AND author_id = ?').bind(id, session.userId),
    left: database.prepare('SELECT 1 FROM posts WHERE id = ?').bind(id),
  })
  if (deleted.meta.changes > 0) follow(purges)
  else throw left.results.length === 1 ? notYours() : noSuchPost()
}

/** Throws for a post in another slot, which cannot be the user's own: FORBIDDEN if it exists, otherwise NOT_FOUND. */
async function refuseUnlessMayBeOwn(tiers: PostTiers, session: Session, id: string): Promise<void> {
  if (!isId(id)) throw noSuchPost()
  if (slotOf(id) === slotOf(session.userId)) return
  throw (await findPost(tiers, id)) ? notYours() : noSuchPost()
}

const noSuchPost = () => new BanyanError('NOT_FOUND', 'There is no post with this id. It may have been deleted.')
const notYours = () => new BanyanError('FORBIDDEN', 'Only its author may change a post. Sign in as its author.')
