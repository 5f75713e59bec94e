/**
 * Characters without ink: white space, controls, format characters, all that Unicode lets a renderer ignore, and the
 * letters and symbols that fonts leave blank (Braille blank, null notehead, blank hieroglyphs, Khitan filler).
 * Unassigned characters are not among them: a newer Unicode may give them ink.
 */
const BLANK =
  /[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800\u{1d159}\u{13441}\u{13442}\u{16fe4}]/gu

/** True if a person sees something of the text. */
export const isVisible = (text: string): boolean => text.replace(BLANK, '') !== ''
