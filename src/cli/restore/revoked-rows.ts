import type { Platform } from '../platform/api.ts'
import { readRows, repeatable, runBatch } from '../platform/database.ts'
import type { RevokedTable } from './noun.ts'
import { here } from './rows-here.ts'

/** Number of deleted rows per table. */
export type Revoked = Record<string, number>

/** Small, because D1 stops a batch after 30 s and runs one query at a time. */
const PIECE_ROWS = 5_000

interface Piece {
  count: number
  last: string
}

/**
 * Deletes all rows of tables whose rows grant access, because time travel may have brought back a session that was
 * ended since. Works in pieces. Idempotent. Throws PlatformError.
 */
export async function revokeAll(platform: Platform, databaseId: string, tables: RevokedTable[]): Promise<Revoked> {
  const revoked: Revoked = {}
  for (const { table } of tables) revoked[table] = await deleteRows(platform, databaseId, table)
  return revoked
}

/**
 * Deletes rows in the order of their keys. Each batch deletes a piece, named by its first and last key, and finds the
 * next one, so a batch whose answer is lost can be sent again. Rows of slots that are not here stay, because no user
 * can reach them and their fence would refuse the whole batch.
 */
async function deleteRows(platform: Platform, databaseId: string, table: string): Promise<number> {
  const isHere = here('id', 'users')
  const find = `SELECT count(*) AS count, max(id) AS last
    FROM (SELECT id FROM ${table} WHERE id > ? AND ${isHere} ORDER BY id LIMIT ?)`
  const remove = `DELETE FROM ${table} WHERE id > ? AND id <= ? AND ${isHere}`
  let deleted = 0
  let after = ''
  let [piece] = await readRows<Piece>(platform, databaseId, find, [after, PIECE_ROWS])
  while (piece && piece.count > 0) {
    const { count, last } = piece
    const batch = [
      { sql: remove, params: [after, last] },
      { sql: find, params: [last, PIECE_ROWS] },
    ]
    const [, found] = await repeatable(() => runBatch<Piece>(platform, databaseId, batch))
    deleted += count
    after = last
    piece = found?.[0]
  }
  return deleted
}
