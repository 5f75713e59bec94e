import { NavLink } from '../../web/layout.tsx'
import type { Navigation } from '../../web/site.ts'

export const SEARCH = '/search'

export const searchNavigation: Navigation = (_viewer, path) => {
  const content = (
    <NavLink href={SEARCH} path={path}>
      Search
    </NavLink>
  )
  return [{ order: 5, content }]
}
