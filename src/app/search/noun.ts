import { defineNoun } from '../noun.ts'
import { nameDuty } from './names.ts'
import { searchNavigation } from './navigation.tsx'
import { searchPages } from './pages.tsx'
import { searchRoutes } from './routes.ts'

export const search = defineNoun({
  name: 'search',
  tables: [],
  routes: [searchRoutes, searchPages],
  duties: (tools) => [nameDuty(tools)],
  navigation: searchNavigation,
})
