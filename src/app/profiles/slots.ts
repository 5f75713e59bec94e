import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { WebEnv } from '../../web/context.ts'
import type { User } from './shapes.ts'

/** What a noun shows on a user's profile page. `own`: the viewer's own page. */
export interface ProfileSlot {
  /** A few words for the margin, like `3 posts`. */
  summary?(user: User): string
  /** A section of the body, with its heading. */
  section?(c: Context<WebEnv>, user: User, own: boolean): Promise<Child>
}
