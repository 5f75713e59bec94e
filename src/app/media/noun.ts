import { defineNoun } from '../noun.ts'
import { mediaJobs } from './process.ts'
import { mediaRoutes } from './routes.ts'
import { mediaDuties } from './sweeps.ts'

export const media = defineNoun({
  name: 'media',
  tables: ['media'],
  routes: [mediaRoutes],
  jobs: mediaJobs,
  duties: mediaDuties,
})
