import { z } from '@hono/zod-openapi'
import { wholeText } from '../../web/api.ts'
import { SEARCH_CHARACTERS_MAX, searchText } from '../profiles/names.ts'

const count = (text: string): number => [...text].length

/** What a user types, in the form in which names are stored. */
export const searchedText = wholeText
  .transform(searchText)
  .refine((text) => text !== '', 'Type at least one character of a handle or a name.')
  .refine((text) => count(text) <= SEARCH_CHARACTERS_MAX, `A search has at most ${SEARCH_CHARACTERS_MAX} characters.`)
  .openapi({ type: 'string', minLength: 1, maxLength: SEARCH_CHARACTERS_MAX })

/** A cursor has a name of up to 50 characters, which are longer than others in JSON or in UTF-8. */
export const searchCursor = z.string().max(1_000).optional()
