import type { JobOptions, Noun } from '../src/app/noun.ts'
import * as listed from '../src/app/nouns.ts'

/** The application's nouns, in alphabetical order. */
export const nouns: readonly Noun[] = Object.values(listed)

/** The statements of all nouns for a batch that changes a picture. */
export const pictureChanged: JobOptions['pictureChanged'] = (database, picture) =>
  nouns.flatMap((noun) => noun.pictureChanged?.(database, picture) ?? [])
/** All nouns' backfills. */
export const backfills = nouns.flatMap((noun) => noun.backfills ?? [])
