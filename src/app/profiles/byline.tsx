import { Leaf, type LeafProps } from './leaf.tsx'
import { shownName } from './names.ts'

/** A user's picture and names, with a link to the profile. */
export const Byline = ({ user }: Pick<LeafProps, 'user'>) => (
  <a class="byline" href={`/@${user.handle}`}>
    <Leaf user={user} />
    <span>
      <bdi class="byline-name">{shownName(user)}</bdi>
      <span class="byline-handle">@{user.handle}</span>
    </span>
  </a>
)
