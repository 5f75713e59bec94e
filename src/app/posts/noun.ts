import { defineNoun } from '../noun.ts'
import { POST_COUNT, postDuties } from './counts.ts'
import { HOME, postNavigation } from './navigation.tsx'
import { postPages } from './pages.tsx'
import { postsOnProfile } from './profile.tsx'
import { postRoutes } from './routes.ts'

export const posts = defineNoun({
  name: 'posts',
  tables: ['posts', 'post_counts'],
  routes: [postRoutes, postPages],
  navigation: postNavigation,
  home: { path: HOME, order: 10 },
  duties: postDuties,
  userCounts: { posts: POST_COUNT },
  profile: postsOnProfile,
})
