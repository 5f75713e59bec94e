import { z } from '@hono/zod-openapi'
import { wholeText } from '../../web/api.ts'

const variantShape = z.object({ url: z.string(), width: z.int(), height: z.int(), type: z.string() })

/** The `media` of the HTTP contract. */
export const mediaShape = z
  .object({
    id: z.string(),
    state: z.enum(['processing', 'ready', 'refused']),
    width: z.int(),
    height: z.int(),
    alt: z.string(),
    thumbhash: z.string().nullable(),
    variants: z.record(z.string(), variantShape),
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
