import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { limits } from '../../core/limits.ts'
import type { WebEnv } from '../../web/context.ts'
import { sharedPage, tagPage } from '../../web/middleware/cache-control.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { page } from '../../web/page.tsx'
import { shownName } from '../profiles/names.ts'
import { userTag } from '../profiles/page-tags.ts'
import { getByHandle } from '../profiles/profiles.ts'
import { findViewer } from '../profiles/viewer.ts'
import { follow, listPeople, unfollow } from './follows.ts'
import { followPaths } from './paths.ts'
import { PeoplePage } from './views.tsx'

type C = Context<WebEnv>

export function followPages(app: OpenAPIHono<WebEnv>): void {
  app.get('/:handle{@[A-Za-z0-9_]+}/followers', sharedPage('ofData', 'cursor'), (c) => people(c, 'followers'))
  app.get('/:handle{@[A-Za-z0-9_]+}/following', sharedPage('ofData', 'cursor'), (c) => people(c, 'following'))
  app.post('/:handle{@[A-Za-z0-9_]+}/follow', (c) => change(c, follow))
  app.post('/:handle{@[A-Za-z0-9_]+}/unfollow', (c) => change(c, unfollow))
}

const userOf = async (c: C) => (await getByHandle(c.get('tiers'), (c.req.param('handle') ?? '').slice(1))).user

async function people(c: C, list: 'followers' | 'following') {
  const tiers = c.get('tiers')
  const [user, viewer] = await Promise.all([userOf(c), findViewer(c)])
  const query = { limit: limits.pageItemsDefault, cursor: c.req.query('cursor') }
  const { items, next } = await listPeople(tiers, list, user.id, query)
  tagPage(c, ...[user, ...items].map(({ id }) => userTag(id)))
  const title = list === 'followers' ? `Followers of ${shownName(user)}` : `Followed by ${shownName(user)}`
  const content = <PeoplePage user={user} list={list} title={title} people={items} next={next} />
  return page(c, { title, viewer }, content)
}

async function change(c: C, run: typeof unfollow) {
  const session = await requireSession(c)
  const user = await userOf(c)
  await run(c.get('tiers'), session, user.id)
  return c.redirect(followPaths(user).profile, 303)
}
