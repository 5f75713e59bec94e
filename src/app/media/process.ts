import { rgbaToThumbHash } from 'thumbhash'
import type { Images, Transformation } from '../../assets/images.ts'
import type { Objects } from '../../assets/objects.ts'
import { BanyanError, hasCode, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { JobContext, JobKinds } from '../../jobs/kinds.ts'
import { type Job, outboxStatement } from '../../jobs/outbox.ts'
import type { ShardDatabase, ShardStatement } from '../../sharding/shards.ts'
import { bareWebp } from './bare-webp.ts'
import { AVATAR_SIDE, keysOf, mediaTag, originalKey, postWidths, variantFile, variantKey } from './keys.ts'
import { type PictureChanged, PROCESS } from './media.ts'
import { checkPicture } from './picture-checks.ts'
import { pixelsOf } from './png-pixels.ts'
import { REMOVE } from './uses.ts'

export interface MediaJobOptions {
  objects: Objects
  images: Images
  /** The statements of all nouns. */
  pictureChanged: PictureChanged
  purgesOf(ownerId: string, tag: string): Job[]
}

interface Original {
  state: 'processing' | 'ready' | 'refused'
  width: number
  height: number
}

interface Variant {
  width: number
  height: number
  type: string
}

type Made = { variants: Record<string, Variant>; thumbhash: string | null }

export const mediaJobs = (options: MediaJobOptions): JobKinds => ({
  [PROCESS]: {
    queue: 'media',
    attemptsMax: 10,
    backoffBaseSeconds: 10,
    timeLimitMs: limits.pictureMs,
    run: (job, context) => processPicture(options, job, context),
  },
  [REMOVE]: {
    queue: 'media',
    attemptsMax: 10,
    backoffBaseSeconds: 10,
    run: (job, context) => removeObjects(options, job, context),
  },
})

/**
 * Makes the variants of an original. The keys are the same for every attempt and objects are never replaced, so a job
 * that runs twice has the effect of one. If the body says `again`, a ready picture gets its missing variants.
 */
async function processPicture(options: MediaJobOptions, job: Job, context: JobContext): Promise<void> {
  const { objects } = options
  const id = String(job.body.id)
  const place = { keyspace: 'users', key: id } as const
  const original = await findOriginal(context, id)
  const isNeeded = original?.state === 'processing' || (original?.state === 'ready' && job.body.again === true)
  if (!original || !isNeeded) return void (await context.once(place, () => []))
  const outcome = await madeOrRefused(options, context, id, original)
  const settled = (database: ShardDatabase): ShardStatement[] => [
    'error' in outcome ? refuse(database, id, outcome.error) : finish(database, id, outcome),
    ...options.pictureChanged(database, { id, ownerId: job.ownerId }),
  ]
  await context.once(place, settled)
  // Its owner deleted it meanwhile, so its other job may not have seen these objects.
  if ((await findOriginal(context, id)) === null) await objects.delete(keysOf(id))
}

const findOriginal = ({ shards }: JobContext, id: string): Promise<Original | null> =>
  shards
    .of(id, { read: 'exact', operation: 'media.original' })
    .prepare('SELECT state, width, height FROM media WHERE id = ?')
    .bind(id)
    .first<Original>()

const finish = (database: ShardDatabase, id: string, { variants, thumbhash }: Made): ShardStatement =>
  database
    .prepare(
      `UPDATE media SET state = 'ready', variants = ?, thumbhash = ?, version = version + 1
       WHERE id = ? AND state = 'processing'`,
    )
    .bind(JSON.stringify(variants), thumbhash, id)

const refuse = (database: ShardDatabase, id: string, error: string): ShardStatement =>
  database
    .prepare("UPDATE media SET state = 'refused', error = ?, variants = '{}', version = version + 1 WHERE id = ?")
    .bind(error, id)

const UNREADABLE = 'The picture could not be read. It may be damaged. Save it again in another program, and upload it.'
const LOST = 'The upload was lost. Upload the picture again.'

/** Throws if the cause may be a store or the service, so that the job is tried later. */
async function madeOrRefused(
  options: MediaJobOptions,
  context: JobContext,
  id: string,
  original: Original,
): Promise<Made | { error: string }> {
  const found = await options.objects.find(originalKey(id))
  if (!found) return { error: LOST }
  const bytes = await found.bytes()
  for (let tries = 1; ; tries++) {
    try {
      return await make(options, id, bytes, original)
    } catch (error) {
      if (hasCode(error, 'STORE_UNAVAILABLE')) throw error
      await refuseUnlessServiceWorks(options.images, error)
      if (tries === limits.mediaTriesMax) return { error: UNREADABLE }
    }
    await context.clock.sleep(limits.mediaPauseMs)
  }
}

/**
 * A small picture that the service certainly reads. Whatever a failure's code is: if this one fails, too, it is the
 * service (a quota, the network), and otherwise it is the picture.
 */
const KNOWN_PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

async function refuseUnlessServiceWorks(images: Images, cause: unknown): Promise<void> {
  try {
    await images.transform(KNOWN_PICTURE, { width: 1, height: 1, fit: 'scale-down', type: 'image/webp' })
  } catch (error) {
    throw new Error(`the Images service fails: ${messageOf(error)}`, { cause })
  }
}

async function make(
  { images, objects }: MediaJobOptions,
  id: string,
  bytes: Uint8Array,
  size: Original,
): Promise<Made> {
  const variants: Record<string, Variant> = {}
  const files = new Map<string, Uint8Array>()
  for (const [name, to] of transformationsOf(size)) {
    const file = bareWebp(await images.transform(bytes, to))
    const { width, height, type } = checkPicture(file)
    variants[name] = { width, height, type }
    files.set(name, file)
  }
  const thumbhash = await thumbhashOf(images, files.get('small'))
  for (const [name, file] of files) await objects.put(variantKey(variantFile(id, name)), file, 'image/webp')
  return { variants, thumbhash }
}

/** The widths that the original has, and at least the smallest. No variant is enlarged, nor higher than 4 times its width. */
function transformationsOf({ width, height }: Original): [name: string, Transformation][] {
  const type = 'image/webp'
  const found: [string, Transformation][] = []
  let smaller = 0
  for (const [name, max] of Object.entries(postWidths)) {
    if (width > smaller) found.push([name, { width: max, height: max * HEIGHT_BY_WIDTH_MAX, fit: 'scale-down', type }])
    smaller = max
  }
  const side = Math.min(AVATAR_SIDE, width, height)
  return [...found, ['avatar', { width: side, height: side, fit: 'cover', type }]]
}

const HEIGHT_BY_WIDTH_MAX = 4
const PLACEHOLDER_SIDE = 32

/** A few bytes from which a blurred picture can be drawn before the real one is loaded. */
async function thumbhashOf(images: Images, small: Uint8Array | undefined): Promise<string | null> {
  if (!small) return null
  const side = PLACEHOLDER_SIDE
  const png = await images.transform(small, { width: side, height: side, fit: 'scale-down', type: 'image/png' })
  const pixels = await pixelsOf(png)
  return pixels && Buffer.from(rgbaToThumbHash(pixels.width, pixels.height, pixels.rgba)).toString('base64')
}

/** Deletes the objects of deleted pictures, and then their copies in caches, because a cache could be filled again. */
async function removeObjects({ objects, purgesOf }: MediaJobOptions, job: Job, context: JobContext): Promise<void> {
  const ids = job.body.ids
  if (!Array.isArray(ids)) throw new BanyanError('INTERNAL', 'A removal of pictures names no pictures.')
  const deleted = ids.map(String)
  await objects.delete(deleted.flatMap(keysOf))
  const purges = deleted.flatMap((id) => purgesOf(job.ownerId, mediaTag(id)))
  await context.once({ keyspace: 'users', key: job.ownerId }, (database) =>
    purges.map((purge) => outboxStatement(database, purge)),
  )
}
