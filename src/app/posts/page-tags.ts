import type { Context } from 'hono'
import type { WebEnv } from '../../web/context.ts'
import { tagPage } from '../../web/middleware/cache-control.ts'
import { userTag } from '../profiles/page-tags.ts'
import type { Post } from './shapes.ts'

/** The tag of each shared page that shows this post. */
export const postTag = (id: string): string => `post:${id}`

/** Tags a page with the posts that it shows, and with their authors. */
export function tagPosts(c: Context<WebEnv>, posts: Post[]): void {
  const authors = new Set(posts.map(({ author }) => author.id))
  tagPage(c, ...posts.map(({ id }) => postTag(id)), ...[...authors].map(userTag))
}
