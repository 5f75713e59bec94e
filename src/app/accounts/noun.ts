import { defineNoun } from '../noun.ts'
import { claimKinds } from './accounts.ts'
import { accountExpiries, accountJobs } from './jobs.ts'
import { accountNavigation } from './navigation.tsx'
import { accountPages } from './pages.tsx'
import { accountRoutes } from './routes.ts'

export const accounts = defineNoun({
  name: 'accounts',
  tables: ['accounts', 'mail_tokens', 'password_attempts', 'retired_handles', 'known_devices'],
  routes: [accountRoutes, accountPages],
  jobs: accountJobs,
  expiries: accountExpiries,
  navigation: accountNavigation,
  home: { path: '/settings', order: 90 },
  claims: claimKinds,
  usersTable: 'accounts',
})
