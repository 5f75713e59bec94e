import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, jsonBody, problems, signedIn, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { getByHandle, getSelf, updateProfile } from './profiles.ts'
import { profileChange, selfShape, userShape } from './shapes.ts'

export function profileRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/me',
      security: signedIn,
      responses: { 200: json(z.object({ user: selfShape }), 'The user’s own account'), ...problems(401) },
    }),
    async (c) => {
      const { userId } = await requireSession(c)
      return c.json({ user: await getSelf(c.get('tiers'), userId) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/api/v1/me',
      security: signedIn,
      request: { body: jsonBody(profileChange) },
      responses: {
        200: json(z.object({ user: selfShape }), 'The user’s own account'),
        ...writeProblems(401),
      },
    }),
    async (c) => {
      const session = await requireSession(c)
      await updateProfile(c.get('tiers'), session, c.req.valid('json'))
      return c.json({ user: await getSelf(c.get('tiers'), session.userId) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/users/{handle}',
      request: { params: z.object({ handle: z.string() }) },
      responses: { 200: json(z.object({ user: userShape }), 'A user'), ...problems(404) },
    }),
    async (c) => {
      const { user } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      return c.json({ user }, 200)
    },
  )
}
