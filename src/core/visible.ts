/**
 * Characters without ink: white space, controls, format characters, everything that Unicode lets a renderer ignore, and
 * the letters and symbols that fonts leave blank (Braille blank, null notehead, blank hieroglyphs, Khitan filler).
 * Unassigned characters are not included, because a newer Unicode may give them ink.
 */
const BLANK =
  /[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800\u{1d159}\u{13441}\u{13442}\u{16fe4}]/gu

/** True if the text has a visible character. */
export const isVisible = (text: string): boolean => text.replace(BLANK, '') !== ''
