import { NavLink } from '../../web/layout.tsx'
import type { Navigation } from '../../web/site.ts'

export const accountNavigation: Navigation = (viewer, path) =>
  viewer
    ? [
        {
          order: 30,
          content: (
            <NavLink href="/settings" path={path}>
              Settings
            </NavLink>
          ),
        },
        {
          order: 40,
          content: (
            <form method="post" action="/logout">
              <button class="nav-link" type="submit">
                Log out
              </button>
            </form>
          ),
        },
      ]
    : [
        {
          order: 10,
          content: (
            <NavLink href="/login" path={path}>
              Log in
            </NavLink>
          ),
        },
        {
          order: 20,
          content: (
            <NavLink href="/signup" path={path}>
              Sign up
            </NavLink>
          ),
        },
      ]
