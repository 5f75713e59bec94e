import { Spread } from '../../web/layout.tsx'
import { Byline } from '../profiles/byline.tsx'
import type { User } from '../profiles/shapes.ts'
import { followPaths } from './paths.ts'

/** A number with a link to the list that it counts. */
export const CountLink = ({ href, count, one, many }: { href: string; count: number; one: string; many: string }) => (
  <a class="text-link" href={href}>
    {count.toLocaleString('en')} {count === 1 ? one : many}
  </a>
)

type FollowButtonProps = { user: User; isFollowed: boolean }

export const FollowButton = ({ user, isFollowed }: FollowButtonProps) => {
  const { follow, unfollow } = followPaths(user)
  return (
    <form method="post" action={isFollowed ? unfollow : follow}>
      <button class={isFollowed ? 'button button-quiet' : 'button'} type="submit">
        {isFollowed ? 'Unfollow' : 'Follow'}
      </button>
    </form>
  )
}

/** For a visitor, who has to log in first. */
export const FollowLink = ({ user }: { user: User }) => (
  <p>
    <a class="button" href={`/login?next=${encodeURIComponent(followPaths(user).profile)}`}>
      Follow
    </a>
  </p>
)

export type PeoplePageProps = {
  user: User
  list: 'followers' | 'following'
  title: string
  people: User[]
  next: string | null
}

export const PeoplePage = ({ user, list, title, people, next }: PeoplePageProps) => (
  <Spread margin={<Byline user={user} />}>
    <h1 class="list-title" dir="auto">
      {title}
    </h1>
    {people.length === 0 ? (
      next ? null : (
        <p class="empty">Nobody yet.</p>
      )
    ) : (
      <ol class="posts">
        {people.map((one) => (
          <li>
            <Byline user={one} />
          </li>
        ))}
      </ol>
    )}
    {next ? (
      <p class="older">
        <a class="button button-quiet" href={`${followPaths(user)[list]}?cursor=${encodeURIComponent(next)}`}>
          More people
        </a>
      </p>
    ) : null}
  </Spread>
)
