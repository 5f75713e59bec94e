import { defineNoun } from '../noun.ts'
import { HOME, postNavigation } from './navigation.tsx'
import { postPages } from './pages.tsx'
import { postsOnProfile } from './profile.tsx'
import { postRoutes } from './routes.ts'

export const posts = defineNoun({
  name: 'posts',
  tables: ['posts'],
  routes: [postRoutes, postPages],
  navigation: postNavigation,
  home: { path: HOME, order: 10 },
  userCounts: { posts: 'SELECT count(*) FROM posts WHERE author_id = profiles.id' },
  profile: postsOnProfile,
})
