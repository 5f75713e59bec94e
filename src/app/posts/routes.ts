import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import {
  json,
  jsonBody,
  listOf,
  pageQuery,
  problems,
  retryKey,
  signedIn,
  wholeText,
  writeProblems,
} from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { noBody } from '../../web/middleware/body.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { getByHandle } from '../profiles/profiles.ts'
import { createPost, deletePost, editPost, getPost, listPosts, TEXT_CHARACTERS_MAX } from './posts.ts'
import { pictureIds, postShape } from './shapes.ts'

/** 1 to 2,000 characters (code points), not only white space. */
export const postText = wholeText
  .refine((text) => text.trim() !== '', 'Write something.')
  .refine((text) => [...text].length <= TEXT_CHARACTERS_MAX, `A post has at most ${TEXT_CHARACTERS_MAX} characters.`)

const idParam = z.object({ id: z.string() })
const body = jsonBody(z.strictObject({ text: postText }))
const newPost = jsonBody(z.strictObject({ text: postText, mediaIds: pictureIds.optional() }))
const onePost = json(z.object({ post: postShape }), 'The post')

export function postRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/posts',
      security: signedIn,
      request: { body: newPost },
      responses: { 201: onePost, ...writeProblems(401, 409) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const { text, mediaIds = [] } = c.req.valid('json')
      const post = await createPost(c.get('tiers'), session, text, retryKey(c), { mediaIds })
      return c.json({ post }, 201)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/posts/{id}',
      request: { params: idParam },
      responses: { 200: onePost, ...problems(404) },
    }),
    async (c) => c.json({ post: await getPost(c.get('tiers'), c.req.valid('param').id) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/api/v1/posts/{id}',
      security: signedIn,
      request: { params: idParam, body },
      responses: { 200: onePost, ...writeProblems(401, 404) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const post = await editPost(c.get('tiers'), session, c.req.valid('param').id, c.req.valid('json').text)
      return c.json({ post }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/api/v1/posts/{id}',
      middleware: noBody,
      security: signedIn,
      request: { params: idParam },
      responses: { 204: { description: 'Deleted' }, ...writeProblems(401, 404) },
    }),
    async (c) => {
      await deletePost(c.get('tiers'), await requireSession(c), c.req.valid('param').id)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/users/{handle}/posts',
      request: { params: z.object({ handle: z.string() }), query: pageQuery },
      responses: { 200: json(listOf(postShape), 'Posts, newest first'), ...problems(404, 422) },
    }),
    async (c) => {
      const { user, version } = await getByHandle(c.get('tiers'), c.req.valid('param').handle)
      return c.json(await listPosts(c.get('tiers'), { id: user.id, version }, c.req.valid('query')), 200)
    },
  )
}
