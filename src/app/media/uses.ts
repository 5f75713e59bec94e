/** What other nouns need to show pictures. */
import { newJob, outboxStatementFrom } from '../../jobs/outbox.ts'
import type { Typed } from '../../sharding/named-batch.ts'
import { rowsOf } from '../../sharding/named-batch.ts'
import { always, type ShardDatabase, type ShardStatement, type SqlCondition } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import { variantUrl } from './keys.ts'
import type { Media } from './shapes.ts'

type StoredVariants = Record<string, { width: number; height: number; type: string }>

/** A picture's columns, as JSON in a row. */
export interface StoredMedia {
  id: string
  state: Media['state']
  width: number
  height: number
  alt: string
  thumbhash: string | null
  error: string | null
  variants: StoredVariants
}

export const MEDIA_JSON = `json_object('id', media.id, 'state', media.state, 'width', media.width, 'height', media.height,
  'alt', media.alt, 'thumbhash', media.thumbhash, 'error', media.error, 'variants', json(media.variants))`

/** SQL for the pictures of what has this id, in their order, as a JSON array. Read it with `mediaIn`. @public For nouns. */
export const mediaUsedBy = (id: string): string =>
  `(SELECT json_group_array(${MEDIA_JSON} ORDER BY media.place) FROM media WHERE media.used_by = ${id})`

/** The pictures of `mediaUsedBy`. @public For nouns. */
export const mediaIn = (json: string): Media[] => (JSON.parse(json) as StoredMedia[]).map(toMedia)

export function toMedia({ error, variants, ...stored }: StoredMedia): Media {
  const entries = Object.entries(variants)
  return {
    ...stored,
    variants: Object.fromEntries(
      entries.map(([name, variant]) => [name, { url: variantUrl(stored.id, name), ...variant }]),
    ),
    ...(error === null ? {} : { error }),
  }
}

/** SQL for the id of a picture with this id if it is ready, otherwise null. @public For nouns. */
export const readyMedia = (id: string): string =>
  `(SELECT media.id FROM media WHERE media.id = ${id} AND media.state = 'ready')`

/** The avatar with the id of `readyMedia`. @public For nouns. */
export const avatarOf = (id: string | null): { url: string } | null =>
  id === null ? null : { url: variantUrl(id, 'avatar') }

/**
 * SQL that is true if all these pictures are the owner's, not refused, and used by nothing, or by `usedBy` already.
 * @public For nouns.
 */
export const areUsable = (ids: readonly string[], ownerId: string, usedBy: string): PictureCondition => ({
  sql: `(SELECT count(*) FROM media WHERE media.id IN (SELECT value FROM json_each(?)) AND media.owner_id = ?
    AND media.state <> 'refused' AND coalesce(media.used_by, ?) = ?) = ?`,
  values: [JSON.stringify(ids), ownerId, usedBy, usedBy, ids.length],
})

interface PictureUse {
  ids: readonly string[]
  ownerId: string
  /** The id of what shows them. */
  usedBy: string
  /** Descriptions by id. */
  alts?: Readonly<Record<string, string>>
}

/** Says what shows these pictures, in this order. Its batch must prove `areUsable`. @public For nouns. */
export const usePictures = (
  database: ShardDatabase,
  { ids, ownerId, usedBy, alts = {} }: PictureUse,
  onlyIf: SqlCondition = always,
): ShardStatement =>
  database
    .prepare(
      `UPDATE media SET used_by = ?, version = version + 1,
         place = (SELECT key FROM json_each(?) WHERE value = media.id),
         alt = coalesce((SELECT value FROM json_each(?) WHERE key = media.id), alt)
       WHERE id IN (SELECT value FROM json_each(?)) AND owner_id = ? AND ${onlyIf.sql}`,
    )
    .bind(usedBy, JSON.stringify(ids), JSON.stringify(alts), JSON.stringify(ids), ownerId, ...onlyIf.values)

/** The pictures of what has this id, in a batch. @public For nouns. */
export const usedPictures = (database: ShardDatabase, usedBy: string): Typed<{ media: string }> =>
  rowsOf<{ media: string }>(database.prepare(`SELECT ${mediaUsedBy('?1')} AS media`).bind(usedBy))

export const REMOVE = 'media.remove'

/** An SQL condition, with its values. */
export interface PictureCondition {
  sql: string
  values: (string | number | null)[]
}

interface Removal {
  /** For the batch, in this order. */
  statements: { pictureJob: Typed<{ body: string }>; pictures: ShardStatement }
  /** Call after the commit. */
  follow(answer: D1Result<{ body: string }>): void
}

/**
 * Deletes the pictures on which the condition holds, and their objects by a job. Put the statements before those that
 * change what the condition reads. @public For nouns.
 */
export function removePictures(
  { ids, clock, follow }: Pick<Tiers, 'ids' | 'clock' | 'follow'>,
  database: ShardDatabase,
  ownerId: string,
  { sql, values }: PictureCondition,
): Removal {
  const job = newJob(ids, clock, ownerId, REMOVE, {})
  const where = `FROM media WHERE media.owner_id = ? AND ${sql}`
  const query = `SELECT json_object('ids', json_group_array(media.id)) AS body ${where} HAVING count(*) > 0`
  return {
    statements: {
      pictureJob: outboxStatementFrom(database, job, query, ownerId, ...values),
      pictures: database.prepare(`DELETE ${where}`).bind(ownerId, ...values),
    },
    follow({ results }) {
      for (const { body } of results) follow([{ ...job, body: JSON.parse(body) }])
    },
  }
}
