import { defineNoun } from '../noun.ts'
import { importRoutes } from './routes.ts'

export const imports = defineNoun({ name: 'imports', tables: [], routes: [importRoutes] })
