import type { Noun } from '../src/app/noun.ts'
import * as listed from '../src/app/nouns.ts'

/** The application's nouns, in alphabetical order. */
export const nouns: readonly Noun[] = Object.values(listed)

/** All nouns' backfills. */
export const backfills = nouns.flatMap((noun) => noun.backfills ?? [])
