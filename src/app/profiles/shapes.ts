import { z } from '@hono/zod-openapi'

/** The `user` of the HTTP contract. `avatar` is null until pictures exist. */
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

/** The `user` as oneself sees it. */
export const selfShape = userShape.extend({ email: z.string(), emailVerified: z.boolean() }).openapi('Self')

export type User = z.infer<typeof userShape>
export type Self = z.infer<typeof selfShape>
