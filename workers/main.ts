import type { Env } from './env.ts'
import { queue, scheduled } from './jobs.ts'
import { web } from './web.ts'

export { DirectoryObject, MoverObject } from './coordinator.ts'
export { PublicPages } from './public-pages.ts'

export default {
  fetch: (request, env, context) => web.fetch(request, env, context),
  queue,
  scheduled,
} satisfies ExportedHandler<Env>
