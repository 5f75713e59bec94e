import type { Context } from 'hono'
import type { WebEnv } from '../../web/context.ts'
import type { Viewer } from '../../web/site.ts'
import { avatarOf, readyMedia } from '../media/uses.ts'

/** The signed-in user of a page, for its header. Makes no call without a cookie. */
export async function findViewer(c: Context<WebEnv>): Promise<Viewer | null> {
  const session = await c.get('session')()
  if (!session) return null
  const found = await c
    .get('tiers')
    .shards.of(session.userId, { operation: 'profiles.viewer' })
    .prepare(
      `SELECT id, handle, display_name AS displayName, ${readyMedia('avatar_id')} AS avatarId FROM profiles WHERE id = ?`,
    )
    .bind(session.userId)
    .first<Viewer & { avatarId: string | null }>()
  return found && { ...found, avatar: avatarOf(found.avatarId) }
}
