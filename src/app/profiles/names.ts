import { isVisible } from '../../core/visible.ts'

/** No search is longer, so no more of a name is stored. @public For nouns. */
export const SEARCH_CHARACTERS_MAX = 50

/** The user's name on pages. Older names may be invisible and would leave links without text. */
export const shownName = ({ displayName, handle }: { displayName: string; handle: string }): string =>
  isVisible(displayName) ? displayName : handle

/**
 * A text as search compares it: characters that look alike are equal (NFKC), letters have no case, and white space is one
 * space. Stored names have this form, and a duty corrects them after a change of it.
 *
 * @public For nouns.
 */
export const searchText = (text: string): string =>
  [...text.normalize('NFKC')].map(folded).join('').normalize('NFKC').replace(/\s+/gu, ' ').trim()

/**
 * A character without case. Upper case first, because `ß` equals `ss` only there. One character at a time, because `Σ`
 * has another lower case at the end of a word, and a prefix may end inside a word.
 */
const folded = (character: string): string => character.toLowerCase().toUpperCase().toLowerCase()

/** A display name as `profiles.search_name` has it. */
export const searchName = (displayName: string): string =>
  [...searchText(displayName)].slice(0, SEARCH_CHARACTERS_MAX).join('')
