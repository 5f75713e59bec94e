import { z } from '@hono/zod-openapi'
import { wholeText } from '../../web/api.ts'

const variantShape = z.object({ url: z.string(), width: z.int(), height: z.int(), type: z.string() }).openapi('Variant')

/** A ready picture has all that are not larger than its original, and the smallest. Others have none. */
const variantsShape = z.object({
  small: variantShape.optional(),
  medium: variantShape.optional(),
  large: variantShape.optional(),
  avatar: variantShape.optional(),
})

/** The `media` of the HTTP contract. */
export const mediaShape = z
  .object({
    id: z.string(),
    state: z.enum(['processing', 'ready', 'refused']),
    width: z.int(),
    height: z.int(),
    alt: z.string(),
    thumbhash: z.string().nullable(),
    variants: variantsShape,
    error: z.string().optional(),
  })
  .openapi('Media')

export type Media = z.infer<typeof mediaShape>

const ALT_CHARACTERS_MAX = 1_500

/** What a picture shows, for people who do not see it. */
export const altText = wholeText.refine(
  (text) => [...text].length <= ALT_CHARACTERS_MAX,
  `A description has at most ${ALT_CHARACTERS_MAX} characters.`,
)
