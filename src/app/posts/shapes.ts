import { z } from '@hono/zod-openapi'
import { userShape } from '../profiles/shapes.ts'

const authorShape = userShape.pick({ id: true, handle: true, displayName: true, avatar: true }).openapi('Author')

/** The `post` of the HTTP contract. `media` is empty until pictures are supported. */
export const postShape = z
  .object({
    id: z.string(),
    author: authorShape,
    text: z.string(),
    media: z.array(z.never().openapi({ type: 'object' })).max(0),
    createdAt: z.iso.datetime(),
    editedAt: z.iso.datetime().nullable(),
    version: z.int(),
  })
  .openapi('Post')

export type Post = z.infer<typeof postShape>
