import { web } from '../../workers/web.ts'
import { nounRoutes, pathOf } from './noun-routes.ts'
import type { Owner } from './nouns.ts'

const ofNouns = Object.fromEntries(nounRoutes.map((route) => [route.pattern, (owner: Owner) => pathOf(route, owner)]))

/** The paths of the other routes whose pattern has a parameter. */
const ofOthers: Record<string, (owner: Owner) => string> = {
  '/api/v1/users/:handle': ({ handle }) => `/api/v1/users/${handle}`,
  '/:handle{@[A-Za-z0-9_]+}': ({ handle }) => `/@${handle}`,
  '/verify-email/:token': () => '/verify-email/x',
  '/confirm-email/:token': () => '/confirm-email/x',
  '/reset-password/:token': () => '/reset-password/x',
  '/unsubscribe/:token': () => '/unsubscribe/x',
  '/dev/mails/:id': () => '/dev/mails/x',
  '/operator/v1/moves/:id': () => '/operator/v1/moves/none',
  '/operator/v1/moves/:id/sides': () => '/operator/v1/moves/none/sides',
  '/assets/*': () => '/assets/none.0123456789abcdef.css',
}

/** The pattern of each route that answers GET. */
export const getPatterns: string[] = [
  ...new Set(
    web.routes
      .filter(({ method, path }) => method === 'GET' || path === '/assets/*')
      .map(({ path }) => path)
      .filter((path) => path !== '/*'),
  ),
].toSorted()

/** A path of the route that shows something of the owner, and one with an id that nothing has. Null if it has no id. */
export function pathsOf(pattern: string, owner: Owner): [path: string, none: string | null] {
  const build = ofNouns[pattern] ?? ofOthers[pattern]
  if (!build && /[:*]/.test(pattern))
    throw new Error(`no path for GET ${pattern}: add it to test/support/get-routes.ts`)
  const path = build?.(owner) ?? pattern
  const ids = [owner.handle, ...Object.values(owner.created)]
  const none = ids.reduce((text, id) => text.replace(id, 'nobody_at_all'), path)
  return [path, none === path ? null : none]
}
