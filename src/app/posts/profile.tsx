import type { ProfileSlot } from '../profiles/slots.ts'
import { pageOf } from './page-of.ts'
import { tagPosts } from './page-tags.ts'
import { listPosts } from './posts.ts'
import { PostList } from './views.tsx'

/** A user's posts on the profile page, and their number. */
export const postsOnProfile: ProfileSlot = {
  query: ['cursor'],
  summary: ({ posts }) => (posts === 1 ? '1 post' : `${posts.toLocaleString('en')} posts`),
  async section(c, { user, version }, own) {
    const { items, next } = await listPosts(c.get('tiers'), { id: user.id, version }, pageOf(c))
    tagPosts(c, items)
    return (
      <>
        <h2 class="list-title">Posts</h2>
        <PostList
          posts={items}
          next={next}
          basePath={`/@${user.handle}`}
          byline={false}
          empty={own ? 'You haven’t published anything yet.' : 'Nothing published yet.'}
        />
      </>
    )
  },
}
