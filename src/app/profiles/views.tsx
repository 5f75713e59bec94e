import { Leaf, readableDay, Spread } from '../../web/layout.tsx'
import { shownName } from '../../web/names.ts'
import type { Post } from '../posts/shapes.ts'
import { PostList } from '../posts/views.tsx'
import type { User } from './shapes.ts'

function countOfPosts(count: number): string {
  return count === 1 ? '1 post' : `${count.toLocaleString('en')} posts`
}

const ProfileMargin = ({ user, own }: { user: User; own: boolean }) => (
  <div class="person">
    <Leaf user={user} size="large" />
    <div class="person-text">
      <h1 class="person-name" dir="auto">
        {shownName(user)}
      </h1>
      <p class="person-handle">@{user.handle}</p>
      {user.bio ? (
        <p class="person-bio" dir="auto">
          {user.bio}
        </p>
      ) : null}
      <p class="fine">
        {countOfPosts(user.posts)} · here since <time datetime={user.createdAt}>{readableDay(user.createdAt)}</time>
      </p>
      {own ? (
        <p>
          <a class="text-link" href="/settings">
            Edit profile
          </a>
        </p>
      ) : null}
    </div>
  </div>
)

export type ProfilePageProps = { user: User; posts: Post[]; next: string | null; own: boolean }

export const ProfilePage = ({ user, posts, next, own }: ProfilePageProps) => (
  <Spread margin={<ProfileMargin user={user} own={own} />}>
    <h2 class="list-title">Posts</h2>
    <PostList
      posts={posts}
      next={next}
      basePath={`/@${user.handle}`}
      byline={false}
      empty={own ? 'You haven’t published anything yet.' : 'Nothing published yet.'}
    />
  </Spread>
)
