/**
 * Stand-ins for what is no text. They pass through SQLite, where half a character or a NUL in a statement would not.
 * Unicode keeps these characters for a program's own use, so no text of a user has them.
 */
export const NOT_TEXT = '\ufdd0'
export const NUL = '\ufdd1'
export const BLOB = '\ufdd2'
/** Ends the last field of a record that was too long to keep. */
export const CUT_OFF = '\ufdd3'

const ODD = /[\0\ufdd0-\ufdd3]|\p{Cs}/u
const EACH_ODD = new RegExp(ODD, 'gu')
const SHOWN_CHARACTERS_MAX = 300

/** Why a value can't be stored as it is, or null. */
export function oddityOf(text: string): string | null {
  const found = ODD.exec(text)?.[0]
  if (found === undefined) return null
  if (found === '\0' || found === NUL) return 'It holds a NUL character.'
  if (found === BLOB) return 'It is a blob, and no text.'
  return 'It holds bytes that are no text in the encoding of the file.'
}

/** The value as a report shows it. */
export const shown = (text: string): string =>
  text.slice(0, SHOWN_CHARACTERS_MAX).replaceAll(EACH_ODD, '\ufffd').toWellFormed()
