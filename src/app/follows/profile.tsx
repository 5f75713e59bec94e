import type { ProfileSlot } from '../profiles/slots.ts'
import { isFollowing } from './follows.ts'
import { followPaths } from './paths.ts'
import { CountLink, FollowButton, FollowLink } from './views.tsx'

/** The numbers on a profile page, and the button. Visitors share the page, so theirs does not depend on the reader. */
export const followsOnProfile: ProfileSlot = {
  summary(user) {
    const paths = followPaths(user)
    return (
      <>
        <CountLink href={paths.followers} count={user.followers} one="follower" many="followers" /> ·{' '}
        <CountLink href={paths.following} count={user.following} one="following" many="following" />
      </>
    )
  },
  async action(c, { user }, viewer) {
    if (!viewer) return <FollowLink user={user} />
    return <FollowButton user={user} isFollowed={await isFollowing(c.get('tiers'), viewer.id, user.id)} />
  },
}
