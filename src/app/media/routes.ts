import { createRoute, z } from '@hono/zod-openapi'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { present } from '../../core/present.ts'
import { json, jsonBody, problems, retryKey, signedIn, writeProblems } from '../../web/api.ts'
import { bytesBody, noBody } from '../../web/middleware/body.ts'
import { sharedPage, tagPage } from '../../web/middleware/cache-control.ts'
import { requireSession } from '../../web/middleware/session.ts'
import type { RegisterRoutes } from '../noun.ts'
import { idOfFile, mediaTag, variantKey } from './keys.ts'
import { createMedia, deleteMedia, describeMedia, getMedia, type PictureChanged } from './media.ts'
import { checkPicture } from './picture-checks.ts'
import { altText, mediaShape } from './shapes.ts'

const idParam = z.object({ id: z.string() })
const oneMedia = json(z.object({ media: mediaShape }), 'The picture')
const picture = {
  required: true,
  content: { 'application/octet-stream': { schema: z.any().openapi({ type: 'string', format: 'binary' }) } },
}

export const mediaRoutes: RegisterRoutes = (app, nouns) => {
  const changed: PictureChanged = (database, one) =>
    nouns.flatMap(({ pictureChanged }) => pictureChanged?.(database, one) ?? [])
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/media',
      middleware: bytesBody(limits.pictureBytesMax, 'PICTURE_TOO_LARGE'),
      security: signedIn,
      request: { body: picture },
      responses: { 202: oneMedia, ...writeProblems(401, 409) },
    }),
    async (c) => {
      const bytes = present(c.get('bodyBytes'), 'the body of the route')
      const facts = checkPicture(bytes)
      const session = await requireSession(c)
      const media = await createMedia(c.get('tiers'), session, { bytes, facts, alt: '' }, retryKey(c))
      return c.json({ media }, 202)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/media/{id}',
      request: { params: idParam },
      responses: { 200: oneMedia, ...problems(404) },
    }),
    async (c) => {
      const session = await c.get('session')()
      return c.json({ media: await getMedia(c.get('tiers'), session?.userId ?? null, c.req.valid('param').id) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'patch',
      path: '/api/v1/media/{id}',
      security: signedIn,
      request: { params: idParam, body: jsonBody(z.strictObject({ alt: altText })) },
      responses: { 200: oneMedia, ...writeProblems(401, 404) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const { alt } = c.req.valid('json')
      return c.json({ media: await describeMedia(c.get('tiers'), session, c.req.valid('param').id, alt, changed) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/api/v1/media/{id}',
      middleware: noBody,
      security: signedIn,
      request: { params: idParam },
      responses: { 204: { description: 'Deleted' }, ...writeProblems(401, 404) },
    }),
    async (c) => {
      await deleteMedia(c.get('tiers'), await requireSession(c), c.req.valid('param').id, changed)
      return c.body(null, 204)
    },
  )
  app.get('/media/:file', sharedPage('ofFile'), async (c) => {
    const file = c.req.param('file')
    const id = idOfFile(file)
    const found = id && (await c.get('tiers').objects.find(variantKey(file)))
    if (!found) throw new BanyanError('NOT_FOUND', 'There is no picture at this address. It may have been deleted.')
    tagPage(c, mediaTag(id))
    return c.body(found.body, 200, {
      'content-type': found.type,
      'content-disposition': 'inline',
      etag: found.etag,
    })
  })
}
