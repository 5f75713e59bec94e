import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { WebEnv } from '../../web/context.ts'
import type { Viewer } from '../../web/site.ts'
import type { Profile } from './profiles.ts'
import type { User } from './shapes.ts'

/** A noun's part of a user's profile page. `own`: the page is the viewer's own. */
export interface ProfileSlot {
  /** The query parameters that the section reads. Visitors' pages get no others. */
  query?: readonly string[]
  /** A few words for the margin, for example `3 posts`. */
  summary?(user: User): Child
  /** What a viewer can do on another user's page. `viewer`: null for a visitor. */
  action?(c: Context<WebEnv>, profile: Profile, viewer: Viewer | null): Promise<Child>
  /** A section of the body, with its heading. */
  section?(c: Context<WebEnv>, profile: Profile, own: boolean): Promise<Child>
}
