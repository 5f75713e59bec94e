import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { isVisible } from '../../core/visible.ts'
import { json, jsonBody, problems, signedIn, wholeText, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { getByHandle, getSelf, updateProfile } from './profiles.ts'
import { selfShape, userShape } from './shapes.ts'

const atMost = (characters: number) => (text: string) => [...text].length <= characters

export const displayName = wholeText
  .trim()
  .min(1, { abort: true, error: 'A display name has 1 to 50 characters.' })
  .refine(isVisible, 'A display name has at least one visible character.')
  .refine(atMost(50), 'A display name has at most 50 characters.')

export const bio = wholeText.refine(atMost(300), 'A bio has at most 300 characters.')

export const profileChange = z.strictObject({ displayName: displayName.optional(), bio: bio.optional() })

export function profileRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/me',
      security: signedIn,
      responses: { 200: json(z.object({ user: selfShape }), 'Oneself'), ...problems(401) },
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
        200: json(z.object({ user: selfShape }), 'Oneself'),
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
    async (c) => c.json({ user: await getByHandle(c.get('tiers'), c.req.valid('param').handle) }, 200),
  )
}
