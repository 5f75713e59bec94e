import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError } from '../../core/errors.ts'
import type { WebEnv } from '../../web/context.ts'
import type { FieldErrors } from '../../web/fields.tsx'
import { type FormStatus, onceOrAnew, parseForm, submit } from '../../web/form.ts'
import { sharedPage } from '../../web/middleware/cache-control.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { page, readForm } from '../../web/page.tsx'
import { shownName } from '../profiles/names.ts'
import { getSelf } from '../profiles/profiles.ts'
import { findViewer } from '../profiles/viewer.ts'
import { HOME } from './navigation.tsx'
import { pageOf } from './page-of.ts'
import { tagPosts } from './page-tags.ts'
import { createPost, deletePost, editPost, getPost, listPosts } from './posts.ts'
import { postText } from './routes.ts'
import { EditPostPage, HomePage, PostPage } from './views.tsx'

type C = Context<WebEnv>

const postForm = z.object({ text: postText })

export function postPages(app: OpenAPIHono<WebEnv>): void {
  app.get(HOME, (c) => home(c))
  app.post('/posts', async (c) => {
    const session = await requireSession(c)
    const { text = '', idempotencyKey } = readForm(c)
    const failed = await submit(async () => {
      const parsed = parseForm(postForm, { text })
      await onceOrAnew(c, idempotencyKey, (retry) => createPost(c.get('tiers'), session, parsed.text, retry))
    })
    return failed ? home(c, { text, ...failed }) : c.redirect(HOME, 303)
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

interface Draft {
  text: string
  errors: FieldErrors
  status: FormStatus
}

async function home(c: C, draft?: Draft) {
  const session = await c.get('session')()
  if (!session) return c.redirect(`/login?next=${HOME}`, 303)
  const tiers = c.get('tiers')
  const [self, { items, next }] = await Promise.all([
    getSelf(tiers, session.userId),
    listPosts(tiers, session.userId, pageOf(c)),
  ])
  const composer = { text: draft?.text ?? '', errors: draft?.errors ?? {} }
  const content = (
    <HomePage self={self} posts={items} next={next} composer={composer} idempotencyKey={crypto.randomUUID()} />
  )
  return page(c, { title: 'Home', viewer: self, status: draft?.status }, content)
}

async function edit(c: C, id: string, draft?: Draft) {
  const viewer = await findViewer(c)
  if (!viewer) return c.redirect(`/login?next=/posts/${encodeURIComponent(id)}/edit`, 303)
  const post = await getPost(c.get('tiers'), id)
  if (post.author.id !== viewer.id)
    throw new BanyanError('FORBIDDEN', 'Only its author may change a post. Sign in as its author.')
  const content = <EditPostPage post={post} text={draft?.text ?? post.text} errors={draft?.errors ?? {}} />
  return page(c, { title: 'Edit post', viewer, status: draft?.status }, content)
}

const firstLine = (text: string): string => {
  const line = [...(text.trim().split('\n')[0] ?? '')]
  return line.length > 60 ? `${line.slice(0, 60).join('')}…` : line.join('')
}
