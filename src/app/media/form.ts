import type { Context } from 'hono'
import { BanyanError, hasCode } from '../../core/errors.ts'
import type { Session } from '../../sessions/sessions.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import type { WebEnv } from '../../web/context.ts'
import { createMedia } from './media.ts'
import { checkPicture } from './picture-checks.ts'
import type { Media } from './shapes.ts'

interface FormFile {
  /** The name of the form's field. */
  field: string
  alt: string
  retry: RetryKey | null
}

/**
 * Stores the file of a form's field; null if there is none. Errors that the user can fix name the field. Throws
 * PICTURE_TYPE, PICTURE_TOO_LARGE and LIMIT_REACHED. @public For nouns.
 */
export async function storeFile(c: Context<WebEnv>, session: Session, file: FormFile): Promise<Media | null> {
  const sent = c.get('files')?.find(({ field }) => field === file.field)
  if (!sent) return null
  try {
    const upload = { bytes: sent.bytes, facts: checkPicture(sent.bytes), alt: file.alt }
    return await createMedia(c.get('tiers'), session, upload, file.retry)
  } catch (error) {
    if (!hasCode(error, 'PICTURE_TYPE', 'PICTURE_TOO_LARGE', 'LIMIT_REACHED')) throw error
    const { code, message: detail } = error
    throw new BanyanError(code, detail, { cause: error, errors: [{ pointer: `/${file.field}`, detail }] })
  }
}
