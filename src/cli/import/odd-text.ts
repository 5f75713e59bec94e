/**
 * Stand-ins for invalid text. SQLite stores them, but it would not store half a character or a NUL in a statement. They
 * are Unicode noncharacters, reserved for internal use, so users' texts do not contain them.
 */
export const NOT_TEXT = '\ufdd0'
export const NUL = '\ufdd1'
export const BLOB = '\ufdd2'
/** Stands for the fields of a record that was too long to keep. */
export const CUT_OFF = '\ufdd3'

const ODD = /[\0\ufdd0-\ufdd3]|\p{Cs}/u
const EACH_ODD = new RegExp(ODD, 'gu')
const SHOWN_CHARACTERS_MAX = 300

/** Why a value can't be stored as it is, or null. */
export function oddityOf(text: string): string | null {
  const found = ODD.exec(text)?.[0]
  if (found === undefined) return null
  if (found === '\0' || found === NUL) return 'It contains a NUL character.'
  if (found === BLOB) return 'It is a blob instead of text.'
  return 'It contains bytes that are invalid in the encoding of the file.'
}

/** The value for a report: at most 300 characters, with U+FFFD for invalid text. */
export const shown = (text: string): string =>
  text.slice(0, SHOWN_CHARACTERS_MAX).replaceAll(EACH_ODD, '\ufffd').toWellFormed()
