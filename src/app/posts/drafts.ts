import { BanyanError } from '../../core/errors.ts'
import type { SessionData, SessionDataChange } from '../../sessions/session-data.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { Tiers } from '../../web/context.ts'

/** The draft's share of the session's data, as JSON. It fits 2,000 characters of two bytes, but not of three or four. */
const DRAFT_BYTES_MAX = 4_050

/** Removes the draft from the session's data. */
export const noDraft: SessionDataChange = { draft: null }

export const draftIn = ({ draft }: SessionData): string => (typeof draft === 'string' ? draft : '')

/**
 * Keeps the composer's text in the session. An empty text removes the draft. Throws SESSION_DATA_TOO_LARGE, and then
 * keeps the previous draft.
 */
export async function saveDraft({ sessions }: Pick<Tiers, 'sessions'>, session: Session, text: string): Promise<void> {
  const bytes = Buffer.byteLength(JSON.stringify(text))
  if (bytes > DRAFT_BYTES_MAX) throw tooLong(bytes)
  await sessions.writeData(session, text === '' ? noDraft : { draft: text })
}

function tooLong(bytes: number): BanyanError {
  const [size, max] = [bytes, DRAFT_BYTES_MAX].map((count) => count.toLocaleString('en'))
  const detail = `The draft was not saved. It takes ${size} bytes, and a draft has room for ${max}. The previous draft is kept. Publish this text, or shorten it.`
  return new BanyanError('SESSION_DATA_TOO_LARGE', detail, { errors: [{ pointer: '/text', detail }] })
}
