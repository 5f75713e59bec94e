import { defineNoun } from '../noun.ts'
import { profileNavigation } from './navigation.tsx'
import { profilePages } from './pages.tsx'
import { pictureChanged } from './profiles.ts'
import { profileRoutes } from './routes.ts'
import { userList } from './user-list.ts'

export const profiles = defineNoun({
  name: 'profiles',
  tables: ['profiles'],
  routes: [profileRoutes, profilePages],
  navigation: profileNavigation,
  userList,
  pictureChanged,
})
