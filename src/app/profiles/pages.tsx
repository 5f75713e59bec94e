import { sharedPage, tagPage } from '../../web/middleware/cache-control.ts'
import { page } from '../../web/page.tsx'
import type { RegisterRoutes } from '../noun.ts'
import { shownName } from './names.ts'
import { userTag } from './page-tags.ts'
import { getByHandle } from './profiles.ts'
import { findViewer } from './viewer.ts'
import { ProfilePage } from './views.tsx'

export const profilePages: RegisterRoutes = (app, nouns) => {
  const slots = nouns.flatMap(({ profile }) => profile ?? [])
  const query = slots.flatMap(({ query = [] }) => query)
  app.get('/:handle{@[A-Za-z0-9_]+}', sharedPage('ofData', ...query), async (c) => {
    const [profile, viewer] = await Promise.all([
      getByHandle(c.get('tiers'), c.req.param('handle').slice(1)),
      findViewer(c),
    ])
    const { user } = profile
    tagPage(c, userTag(user.id))
    const own = user.id === viewer?.id
    const [sections, actions] = await Promise.all([
      Promise.all(slots.map(({ section }) => section?.(c, profile, own))),
      Promise.all(slots.map(({ action }) => (own ? null : action?.(c, profile, viewer)))),
    ])
    const summaries = slots.flatMap(({ summary }) => summary?.(user) ?? [])
    const content = <ProfilePage user={user} own={own} summaries={summaries} actions={actions} sections={sections} />
    return page(c, { title: `${shownName(user)} (@${user.handle})`, description: user.bio, viewer }, content)
  })
}
