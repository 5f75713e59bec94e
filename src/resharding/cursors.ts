import type { MoveProgress } from './record.ts'

/** The next rows to process: the index of the table and of the range, and the last processed row's key, or null. */
export interface Place {
  walk: 'copy' | 'verify' | 'count'
  table: number
  range: number
  key: string | null
}

/** A move's position, kept at the target in the batch that wrote the data it describes. */
export interface Cursors extends MoveProgress {
  /** The shards' schema when the copy started. Rows copied under another schema may lack a column. */
  schema: string
  /** The last captured change that the target has. */
  seq: number
  /** The last change captured before a reverse started. All earlier changes are carried, however many there are. */
  lastSeq: number
  place: Place
  /** Rows counted so far by the count walk. */
  rowsCounted: number
}

export const firstPlace = (walk: Place['walk']): Place => ({ walk, table: 0, range: 0, key: null })

export const firstCursors = (schema: string, lastSeq = 0): Cursors => ({
  schema,
  seq: 0,
  lastSeq,
  place: firstPlace('copy'),
  rowsTotal: 0,
  rowsCopied: 0,
  rowsVerified: 0,
  rowsCounted: 0,
})

/** The place after a chunk: after the key `end`, or in the next range or table if `end` is null. */
export function placeAfter(place: Place, end: string | null, ranges: number): Place {
  if (end !== null) return { ...place, key: end }
  const isLast = place.range + 1 === ranges
  return { ...place, table: isLast ? place.table + 1 : place.table, range: isLast ? 0 : place.range + 1, key: null }
}
