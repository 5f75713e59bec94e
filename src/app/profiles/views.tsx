import type { Child } from 'hono/jsx'
import { Spread } from '../../web/layout.tsx'
import { readableDay } from '../../web/readable-times.ts'
import { Leaf } from './leaf.tsx'
import { shownName } from './names.ts'
import type { User } from './shapes.ts'

type ProfileMarginProps = { user: User; own: boolean; summaries: Child[]; actions: Child[] }

const ProfileMargin = ({ user, own, summaries, actions }: ProfileMarginProps) => (
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
        {summaries.map((summary) => (
          <>{summary} · </>
        ))}
        here since <time datetime={user.createdAt}>{readableDay(user.createdAt)}</time>
      </p>
      {actions}
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

export type ProfilePageProps = ProfileMarginProps & { sections: Child[] }

export const ProfilePage = ({ sections, ...margin }: ProfilePageProps) => (
  <Spread margin={<ProfileMargin {...margin} />}>{sections}</Spread>
)
