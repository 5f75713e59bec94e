import { z } from '@hono/zod-openapi'
import { isVisible } from '../../core/visible.ts'
import { wholeText } from '../../web/api.ts'

/** The `user` of the HTTP contract. `avatar` is null until its picture is ready. */
export const userShape = z
  .object({
    id: z.string(),
    handle: z.string(),
    displayName: z.string(),
    bio: z.string(),
    avatar: z.object({ url: z.string() }).nullable(),
    createdAt: z.iso.datetime(),
    followers: z.int(),
    following: z.int(),
    posts: z.int(),
  })
  .openapi('User')

/** The `user` of the user's own account. */
export const selfShape = userShape.extend({ email: z.string(), emailVerified: z.boolean() }).openapi('Self')

export type User = z.infer<typeof userShape>
export type Self = z.infer<typeof selfShape>

const atMost = (characters: number) => (text: string) => [...text].length <= characters

export const displayName = wholeText
  .trim()
  .min(1, { abort: true, error: 'A display name has 1 to 50 characters.' })
  .refine(isVisible, 'A display name has at least one visible character.')
  .refine(atMost(50), 'A display name has at most 50 characters.')

export const bio = wholeText.refine(atMost(300), 'A bio has at most 300 characters.')

export const profileChange = z.strictObject({
  displayName: displayName.optional(),
  bio: bio.optional(),
  avatarId: z.string().nullable().optional(),
})
