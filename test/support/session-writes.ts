import type { Session } from '../../src/sessions/sessions.ts'
import type { Tiers } from '../../src/web/context.ts'

/** A write of somebody signed in, as a noun's: a row in the user's slot, of a table that the migrations have. Resolves to its id. */
export async function writeRow(
  { sessions, ids, clock }: Pick<Tiers, 'sessions' | 'ids' | 'clock'>,
  session: Session,
  text: string,
): Promise<string> {
  const id = ids.ownedId(session.userId)
  await sessions
    .database(session, { operation: 'rows.write' })
    .prepare('INSERT INTO posts (id, author_id, text, created_at, edited_at, version) VALUES (?, ?, ?, ?, NULL, 1)')
    .bind(id, session.userId, text, clock.now())
    .run()
  return id
}
