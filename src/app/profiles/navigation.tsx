import { NavLink } from '../../web/layout.tsx'
import type { Navigation } from '../../web/site.ts'
import { Leaf } from './leaf.tsx'

declare module '../../web/site.ts' {
  interface Viewer {
    handle: string
    displayName: string
    avatar?: { url: string } | null
  }
}

/** The link to the viewer's own profile. */
export const profileNavigation: Navigation = (viewer, path) => {
  if (!viewer) return []
  const content = (
    <NavLink href={`/@${viewer.handle}`} path={path} class="nav-profile">
      <Leaf user={viewer} size="small" />
      <span class="hidden">Your profile, </span>
      <span class="nav-handle">@{viewer.handle}</span>
    </NavLink>
  )
  return [{ order: 20, content }]
}
