import { BanyanError } from '../../core/errors.ts'
import { isId, slotOf } from '../../core/ids.ts'
import { limits } from '../../core/limits.ts'
import { newJob, outboxStatementIf } from '../../jobs/outbox.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import type { ShardDatabase, ShardStatement } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import { originalKey } from './keys.ts'
import { displayedSize, type PictureFacts } from './picture-checks.ts'
import type { Media } from './shapes.ts'
import { MEDIA_JSON, removePictures, type StoredMedia, toMedia } from './uses.ts'

export type MediaTiers = Pick<
  Tiers,
  'shards' | 'sessions' | 'clock' | 'ids' | 'idempotency' | 'follow' | 'objects' | 'waitUntil' | 'log'
>

/**
 * The statements of a noun for a batch that changes a picture, for example to raise the version of what shows it. They
 * run while the picture's row exists.
 */
export type PictureChanged = (database: ShardDatabase, picture: { id: string; ownerId: string }) => ShardStatement[]

export const PROCESS = 'media.process'

/** An upload whose bytes were checked. */
export interface Upload {
  bytes: Uint8Array
  facts: PictureFacts
  alt: string
}

/**
 * Stores a picture and lets a job make its variants. The object is put before the row, so a row always has its object; if
 * the row is never written, a sweep removes the object. Throws LIMIT_REACHED if too many pictures are used by nothing.
 */
export async function createMedia(
  tiers: MediaTiers,
  session: Session,
  { bytes, facts, alt }: Upload,
  retry: RetryKey | null,
): Promise<Media> {
  const { sessions, ids, clock, idempotency, objects, follow } = tiers
  const { userId } = session
  const id = ids.ownedId(userId)
  await objects.put(originalKey(id), bytes, facts.type)
  const { width, height } = displayedSize(facts)
  const database = sessions.database(session, { operation: 'media.create' })
  const job = newJob(ids, clock, userId, PROCESS, { id })
  const hasRoom = {
    sql: '(SELECT count(*) FROM media WHERE owner_id = ? AND used_by IS NULL) < ?',
    values: [userId, limits.mediaUnusedMax],
  }
  const outcome = await idempotency.once(
    userId,
    retry,
    database,
    { status: 202, answer: { id }, onlyIf: hasRoom },
    (statements) =>
      batchByName(database, {
        statements,
        row: database
          .prepare(
            `INSERT INTO media (id, owner_id, state, type, bytes, width, height, alt, variants, place, created_at, version)
             SELECT ?, ?, 'processing', ?, ?, ?, ?, ?, '{}', 0, ?, 1 WHERE ${hasRoom.sql}`,
          )
          .bind(id, userId, facts.type, bytes.length, width, height, alt, clock.now(), ...hasRoom.values),
        job: outboxStatementIf(database, job, 'SELECT 1 FROM media WHERE id = ?', id),
      }),
  )
  const isStored = 'committed' in outcome && outcome.committed.row.meta.changes === 1
  if (isStored) follow([job])
  else discard(tiers, id)
  if ('committed' in outcome && !isStored) throw tooManyUnused()
  const answered = 'kept' in outcome ? outcome.kept.answer.id : id
  return { id: answered, state: 'processing', width, height, alt, thumbhash: null, variants: {} }
}

/** Deletes the object of a picture without a row. If that fails, the sweep deletes it. */
function discard({ objects, waitUntil, log }: MediaTiers, id: string): void {
  const failed = (reason: unknown) => log.warn('media.not-discarded', { id, reason: String(reason) })
  waitUntil(objects.delete([originalKey(id)]).catch(failed))
}

const tooManyUnused = () =>
  new BanyanError(
    'LIMIT_REACHED',
    `An account has at most ${limits.mediaUnusedMax} pictures that nothing shows. Publish or delete some, or wait a day.`,
  )

interface MediaAnswer {
  media: string
}

/** A picture that something shows, or one of the reader's own. Throws NOT_FOUND. */
export async function getMedia({ shards }: Pick<Tiers, 'shards'>, readerId: string | null, id: string): Promise<Media> {
  if (!isId(id)) throw noSuchPicture()
  const found = await shards
    .of(id, { operation: 'media.find', read: 'exact' })
    .prepare(`SELECT ${MEDIA_JSON} AS media FROM media WHERE id = ? AND (owner_id = ? OR used_by IS NOT NULL)`)
    .bind(id, readerId ?? '')
    .first<MediaAnswer>()
  if (!found) throw noSuchPicture()
  return mediaOf(found)
}

/** Describes the user's own picture. Throws NOT_FOUND. */
export async function describeMedia(
  { sessions }: Pick<Tiers, 'sessions'>,
  session: Session,
  id: string,
  alt: string,
  changed: PictureChanged,
): Promise<Media> {
  refuseUnlessMayBeOwn(session, id)
  const database = sessions.database(session, { operation: 'media.describe' })
  const { described } = await batchByName(database, {
    changed: changed(database, { id, ownerId: session.userId }),
    described: rowsOf<MediaAnswer>(
      database
        .prepare(
          `UPDATE media SET alt = ?, version = version + 1 WHERE id = ? AND owner_id = ?
           RETURNING ${MEDIA_JSON} AS media`,
        )
        .bind(alt, id, session.userId),
    ),
  })
  const [row] = described.results
  if (!row) throw noSuchPicture()
  return mediaOf(row)
}

/** Deletes the user's own picture, even if something shows it. Throws NOT_FOUND. */
export async function deleteMedia(
  tiers: Pick<Tiers, 'sessions' | 'ids' | 'clock' | 'follow'>,
  session: Session,
  id: string,
  changed: PictureChanged,
): Promise<void> {
  refuseUnlessMayBeOwn(session, id)
  const database = tiers.sessions.database(session, { operation: 'media.delete' })
  const removal = removePictures(tiers, database, session.userId, { sql: 'media.id = ?', values: [id] })
  const { pictureJob } = await batchByName(database, {
    changed: changed(database, { id, ownerId: session.userId }),
    ...removal.statements,
  })
  if (pictureJob.results.length === 0) throw noSuchPicture()
  removal.follow(pictureJob)
}

const mediaOf = ({ media }: MediaAnswer): Media => toMedia(JSON.parse(media) as StoredMedia)

function refuseUnlessMayBeOwn({ userId }: Session, id: string): void {
  if (!isId(id) || slotOf(id) !== slotOf(userId)) throw noSuchPicture()
}

const noSuchPicture = () =>
  new BanyanError('NOT_FOUND', 'There is no picture with this id. It may have been deleted, or nothing shows it yet.')
