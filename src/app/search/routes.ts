import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, listOf, pageQuery, problems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { limitSearches } from '../../web/middleware/rate-limits.ts'
import { userShape } from '../profiles/shapes.ts'
import { searchUsers } from './search.ts'
import { searchCursor, searchedText } from './shapes.ts'

const foundShape = listOf(userShape).extend({
  /** True if a shard did not answer in time, so that users may be missing. */
  partial: z.boolean(),
})

export function searchRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/search/users',
      request: { query: pageQuery.extend({ q: searchedText, cursor: searchCursor }) },
      responses: {
        200: json(foundShape, 'Users whose handle or display name starts with `q`'),
        ...problems(422),
      },
    }),
    async (c) => {
      await limitSearches(c)
      const { q, limit, cursor } = c.req.valid('query')
      return c.json(await searchUsers(c.get('tiers'), { text: q, limit, cursor }), 200)
    },
  )
}
