import { defineNoun } from '../noun.ts'
import { countsIn } from './edges.ts'
import { followExpiries, followJobs } from './jobs.ts'
import { followPages } from './pages.tsx'
import { followsOnProfile } from './profile.tsx'
import { followDuties } from './repair.ts'
import { followRoutes } from './routes.ts'

/** A user without a row of counts is counted. */
const count = (name: 'followers' | 'following') => `SELECT coalesce(
  (SELECT ${name} FROM follow_counts WHERE follow_counts.id = profiles.id), ${countsIn('profiles.id')[name]})`

export const follows = defineNoun({
  name: 'follows',
  tables: ['follows', 'followers', 'follow_counts'],
  routes: [followRoutes, followPages],
  jobs: followJobs,
  expiries: followExpiries,
  duties: followDuties,
  userCounts: { followers: count('followers'), following: count('following') },
  profile: followsOnProfile,
})
