import { type OpenAPIHono, z } from '@hono/zod-openapi'
import { limits } from '../../core/limits.ts'
import type { WebEnv } from '../../web/context.ts'
import { parseForm, submit } from '../../web/form.ts'
import { limitSearches } from '../../web/middleware/rate-limits.ts'
import { page } from '../../web/page.tsx'
import { findViewer } from '../profiles/viewer.ts'
import { SEARCH } from './navigation.tsx'
import { searchUsers } from './search.ts'
import { searchCursor, searchedText } from './shapes.ts'
import { SearchPage, type SearchPageProps } from './views.tsx'

const searchForm = z.object({ q: searchedText, cursor: searchCursor })

export function searchPages(app: OpenAPIHono<WebEnv>): void {
  app.get(SEARCH, async (c) => {
    const { q, cursor } = c.req.query()
    let found: SearchPageProps['found'] = null
    const search = async () => {
      const parsed = parseForm(searchForm, { q: q ?? '', ...(cursor === undefined ? {} : { cursor }) })
      await limitSearches(c)
      const asked = { text: parsed.q, limit: limits.pageItemsDefault, cursor: parsed.cursor }
      found = await searchUsers(c.get('tiers'), asked)
    }
    const [failed, viewer] = await Promise.all([q === undefined ? null : submit(search), findViewer(c)])
    const title = found ? `Search: ${q}` : 'Search'
    const content = <SearchPage q={q ?? ''} found={found} errors={failed?.errors ?? {}} />
    return page(c, { title, viewer, status: failed?.status }, content)
  })
}
