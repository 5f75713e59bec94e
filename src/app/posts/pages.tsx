import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Session } from '../../sessions/sessions.ts'
import { batchByName } from '../../sharding/named-batch.ts'
import { wholeText } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import type { FieldErrors } from '../../web/fields.tsx'
import { type FormStatus, onceOrAnew, parseForm, submit } from '../../web/form.ts'
import { formWithFiles } from '../../web/middleware/body.ts'
import { sharedPage } from '../../web/middleware/cache-control.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { page, readForm } from '../../web/page.tsx'
import { storeFile } from '../media/form.ts'
import { altText } from '../media/shapes.ts'
import { type ChosenPicture, pictureNumbers } from '../media/views.tsx'
import { shownName } from '../profiles/names.ts'
import { selfIn, selfQuery } from '../profiles/profiles.ts'
import { findViewer } from '../profiles/viewer.ts'
import { draftIn, saveDraft } from './drafts.ts'
import { DRAFT, HOME } from './navigation.tsx'
import { pageOf } from './page-of.ts'
import { tagPosts } from './page-tags.ts'
import { createPost, deletePost, editPost, getPost, listOwnPosts } from './posts.ts'
import { postText } from './routes.ts'
import { EditPostPage, HomePage, PostPage } from './views.tsx'

type C = Context<WebEnv>

const postForm = z.object({ text: postText })
const altForm = z.object(Object.fromEntries(pictureNumbers.map((number) => [`alt${number}`, altText])))
const draftForm = z.object({ text: wholeText })

export function postPages(app: OpenAPIHono<WebEnv>): void {
  app.get(HOME, (c) => home(c))
  app.post('/posts', formWithFiles(limits.pictureFormBytesMax), publish)
  app.post(DRAFT, async (c) => {
    const session = await requireSession(c)
    const values = readForm(c)
    const save = async () => saveDraft(c.get('tiers'), session, parseForm(draftForm, values).text)
    // The script stays on the page and shows the error itself.
    if (!c.req.header('accept')?.includes('text/html')) {
      await save()
      return c.body(null, 204)
    }
    const failed = await submit(save)
    return failed ? home(c, { text: values.text ?? '', ...failed }) : c.redirect(HOME, 303)
  })
  app.get('/posts/:id', sharedPage('ofData'), async (c) => {
    const [post, viewer] = await Promise.all([getPost(c.get('tiers'), c.req.param('id')), findViewer(c)])
    tagPosts(c, [post])
    const title = `${shownName(post.author)}: ${firstLine(post.text)}`
    return page(
      c,
      { title, description: firstLine(post.text), viewer },
      <PostPage post={post} own={post.author.id === viewer?.id} />,
    )
  })
  app.get('/posts/:id/edit', (c) => edit(c, c.req.param('id')))
  app.post('/posts/:id/edit', async (c) => {
    const session = await requireSession(c)
    const id = c.req.param('id')
    const { text = '' } = readForm(c)
    const failed = await submit(() => editPost(c.get('tiers'), session, id, parseForm(postForm, { text }).text))
    return failed ? edit(c, id, { text, ...failed }) : c.redirect(`/posts/${id}`, 303)
  })
  app.post('/posts/:id/delete', async (c) => {
    await deletePost(c.get('tiers'), await requireSession(c), c.req.param('id'))
    return c.redirect(HOME, 303)
  })
}

/**
 * Publishes the composer's text and pictures. A picture comes as a file, or as the id of one that the script has uploaded.
 * If the form is refused, those that are stored stay in it.
 */
async function publish(c: C) {
  const session = await requireSession(c)
  const values = readForm(c)
  const { text = '', idempotencyKey } = values
  const pictures = pictureNumbers.map((number) => ({
    id: values[`media${number}`] ?? '',
    alt: values[`alt${number}`] ?? '',
  }))
  const failed = await submit(async () => {
    const parsed = parseForm(postForm, { text })
    parseForm(altForm, Object.fromEntries(pictures.map(({ alt }, index) => [`alt${index + 1}`, alt])))
    await onceOrAnew(c, idempotencyKey, async (retry) => {
      for (const [index, picture] of pictures.entries()) {
        const field = `picture${index + 1}`
        const { alt } = picture
        const own = retry && { ...retry, key: `${retry.key}.${field}` }
        const stored = await storeFile(c, session, { field, alt, retry: own })
        if (stored) picture.id = stored.id
      }
      const chosen = pictures.filter(({ id }) => id !== '')
      const options = { isDraft: true, mediaIds: chosen.map(({ id }) => id), alts: altsOf(chosen) }
      await createPost(c.get('tiers'), session, parsed.text, retry, options)
    })
  })
  return failed ? home(c, { text, pictures, ...failed }) : c.redirect(HOME, 303)
}

const altsOf = (pictures: readonly ChosenPicture[]): Record<string, string> =>
  Object.fromEntries(pictures.filter(({ alt }) => alt !== '').map(({ id, alt }) => [id, alt]))

/** What the user has typed and sent, with the errors to show beside it. */
interface Sent {
  text: string
  pictures?: readonly ChosenPicture[]
  errors: FieldErrors
  status: FormStatus
}

async function home(c: C, sent?: Sent) {
  const session = await c.get('session')()
  if (!session) return c.redirect(`/login?next=${HOME}`, 303)
  const tiers = c.get('tiers')
  const [{ self, draft }, { items, next }] = await Promise.all([
    readOwn(c, session),
    listOwnPosts(tiers, session.userId, pageOf(c)),
  ])
  const composer = { text: sent?.text ?? draft, errors: sent?.errors ?? {}, pictures: sent?.pictures ?? [] }
  const content = (
    <HomePage self={self} posts={items} next={next} composer={composer} idempotencyKey={crypto.randomUUID()} />
  )
  return page(c, { title: 'Home', viewer: self, status: sent?.status }, content)
}

/** The user's own account and the draft in the session, by one exact read. Throws SESSION_ENDED. */
async function readOwn(c: C, session: Session) {
  const { sessions, userCounts } = c.get('tiers')
  const database = sessions.database(session, { read: 'exact', operation: 'posts.home' })
  const { self, data } = await batchByName(database, {
    self: selfQuery({ userCounts }, database, session.userId),
    data: sessions.dataQuery(database, session),
  })
  return { self: selfIn(self), draft: draftIn(sessions.dataOf(data)) }
}

async function edit(c: C, id: string, sent?: Sent) {
  const viewer = await findViewer(c)
  if (!viewer) return c.redirect(`/login?next=/posts/${encodeURIComponent(id)}/edit`, 303)
  const post = await getPost(c.get('tiers'), id)
  if (post.author.id !== viewer.id)
    throw new BanyanError('FORBIDDEN', 'Only its author may change a post. Sign in as its author.')
  const content = <EditPostPage post={post} text={sent?.text ?? post.text} errors={sent?.errors ?? {}} />
  return page(c, { title: 'Edit post', viewer, status: sent?.status }, content)
}

const firstLine = (text: string): string => {
  const line = [...(text.trim().split('\n')[0] ?? '')]
  return line.length > 60 ? `${line.slice(0, 60).join('')}…` : line.join('')
}
