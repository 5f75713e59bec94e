import type { MoveProgress } from './record.ts'

/** Which rows come next: a table's number, a range's, and the key of the last row that was done, or null. */
export interface Place {
  walk: 'copy' | 'verify' | 'count'
  table: number
  range: number
  key: string | null
}

/** Where a move is: kept at the target, in the batch that wrote the data it speaks of. */
export interface Cursors extends MoveProgress {
  /** The shards' schema when the copying began: rows copied under another may lack a column. */
  schema: string
  /** The last captured change that the target has. */
  seq: number
  /** Of a reverse: the last change that was captured before it. What waits of these is carried, however much it is. */
  lastSeq: number
  place: Place
  /** By the walk that counts, so far. */
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

/** The place after a chunk that ended at a key, or, where no row was left, after a range of a table. */
export function placeAfter(place: Place, end: string | null, ranges: number): Place {
  if (end !== null) return { ...place, key: end }
  const isLast = place.range + 1 === ranges
  return { ...place, table: isLast ? place.table + 1 : place.table, range: isLast ? 0 : place.range + 1, key: null }
}
