import type { DatabaseSync } from 'node:sqlite'

/**
 * D1's limits, as SQLite enforces them. https://developers.cloudflare.com/d1/platform/limits/ documents the first six;
 * the runtime sets the others for every database.
 */
const d1Limits = {
  length: 2_000_000, // bytes of a text, a blob or a row
  sqlLength: 100_000, // bytes of a statement
  variableNumber: 100,
  functionArg: 32,
  column: 100, // of a table, a result, an index or a SET
  likePatternLength: 50,
  exprDepth: 100,
  compoundSelect: 5,
  triggerDepth: 10,
  vdbeOp: 25_000, // instructions of a prepared statement
  attach: 0,
}

/** Gives a database D1's limits. */
export function limitLikeD1(sqlite: DatabaseSync): void {
  // Node has had this since version 24; the types used here are older.
  const { limits } = sqlite as DatabaseSync & { limits: Record<keyof typeof d1Limits, number> }
  Object.assign(limits, d1Limits)
}
