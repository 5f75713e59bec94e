import { NavLink } from '../../web/layout.tsx'
import type { Navigation } from '../../web/site.ts'

export const HOME = '/home'
export const DRAFT = '/home/draft'

export const postNavigation: Navigation = (viewer, path) => {
  if (!viewer) return []
  const content = (
    <NavLink href={HOME} path={path}>
      Home
    </NavLink>
  )
  return [{ order: 10, content }]
}
