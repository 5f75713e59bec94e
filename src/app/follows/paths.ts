import type { User } from '../profiles/shapes.ts'

/** The addresses of a user's pages and forms. */
export const followPaths = ({ handle }: Pick<User, 'handle'>) => {
  const profile = `/@${handle}`
  return {
    profile,
    followers: `${profile}/followers`,
    following: `${profile}/following`,
    follow: `${profile}/follow`,
    unfollow: `${profile}/unfollow`,
  }
}
