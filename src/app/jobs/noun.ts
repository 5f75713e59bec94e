import { defineNoun } from '../noun.ts'
import { jobRoutes } from './routes.ts'

export const jobs = defineNoun({ name: 'jobs', tables: [], routes: [jobRoutes] })
