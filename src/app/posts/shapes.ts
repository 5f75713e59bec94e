import { z } from '@hono/zod-openapi'
import { limits } from '../../core/limits.ts'
import { mediaShape } from '../media/shapes.ts'
import { userShape } from '../profiles/shapes.ts'

const authorShape = userShape.pick({ id: true, handle: true, displayName: true, avatar: true }).openapi('Author')

/** The `post` of the HTTP contract. */
export const postShape = z
  .object({
    id: z.string(),
    author: authorShape,
    text: z.string(),
    media: z.array(mediaShape),
    createdAt: z.iso.datetime(),
    editedAt: z.iso.datetime().nullable(),
    version: z.int(),
  })
  .openapi('Post')

export type Post = z.infer<typeof postShape>

/** The ids of a post's pictures, in order. */
export const pictureIds = z
  .array(z.string())
  .max(limits.picturesPerPostMax, `A post has at most ${limits.picturesPerPostMax} pictures.`)
  .refine((ids) => new Set(ids).size === ids.length, 'Name each picture once.')
