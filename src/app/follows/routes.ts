import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { json, listOf, pageQuery, problems, signedIn, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { noBody } from '../../web/middleware/body.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { getByHandle } from '../profiles/profiles.ts'
import { userShape } from '../profiles/shapes.ts'
import { follow, listPeople, unfollow } from './follows.ts'

const params = z.object({ handle: z.string() })
const people = json(listOf(userShape), 'Users, newest follow first')

export function followRoutes(app: OpenAPIHono<WebEnv>): void {
  const path = '/api/v1/users/{handle}/follow'
  app.openapi(
    createRoute({
      method: 'put',
      path,
      middleware: noBody,
      security: signedIn,
      request: { params },
      responses: { 204: { description: 'You follow the user' }, ...writeProblems(401, 404, 409) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const { user } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      await follow(c.get('tiers'), session, user.id)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path,
      middleware: noBody,
      security: signedIn,
      request: { params },
      responses: { 204: { description: 'You do not follow the user' }, ...writeProblems(401, 404) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const { user } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      await unfollow(c.get('tiers'), session, user.id)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/users/{handle}/followers',
      request: { params, query: pageQuery },
      responses: { 200: people, ...problems(404, 422) },
    }),
    async (c) => {
      const { user } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      return c.json(await listPeople(c.get('tiers'), 'followers', user.id, c.req.valid('query')), 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/users/{handle}/following',
      request: { params, query: pageQuery },
      responses: { 200: people, ...problems(404, 422) },
    }),
    async (c) => {
      const { user } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      return c.json(await listPeople(c.get('tiers'), 'following', user.id, c.req.valid('query')), 200)
    },
  )
}
