import type { Platform } from '../platform/api.ts'
import { readRows, repeatable, runBatch } from '../platform/database.ts'
import { here } from './claim-differences.ts'

/**
 * Tables whose rows let somebody in. A row that time travel brings back may be a session that was ended since, or a mailed
 * token that was used since. Both are tables of the `users` keyspace with an `id`.
 */
const tables = ['sessions', 'mail_tokens'] as const

/** How many rows of each table were deleted. */
export type Revoked = Record<(typeof tables)[number], number>

/** D1 stops a batch after 30 s and runs one query at a time. */
const PIECE_ROWS = 5_000

interface Piece {
  count: number
  last: string
}

/** Deletes every session and mailed token, a piece at a time. Repeated, it has the same end. Throws PlatformError. */
export async function revokeAll(platform: Platform, databaseId: string): Promise<Revoked> {
  const revoked: Revoked = { sessions: 0, mail_tokens: 0 }
  for (const table of tables) revoked[table] = await deleteRows(platform, databaseId, table)
  return revoked
}

/**
 * Goes through the keys in order. Each batch deletes a piece, which is named by its first and last key, and finds the next
 * one, so a batch whose answer is lost can be sent again. Rows of slots that are not here are left: nobody can reach them,
 * and their fence would refuse the whole batch.
 */
async function deleteRows(platform: Platform, databaseId: string, table: keyof Revoked): Promise<number> {
  const isHere = here('id', 'users')
  const find = `SELECT count(*) AS count, max(id) AS last
    FROM (SELECT id FROM ${table} WHERE id > ? AND ${isHere} ORDER BY id LIMIT ?)`
  const remove = `DELETE FROM ${table} WHERE id > ? AND id <= ? AND ${isHere}`
  let deleted = 0
  let after = ''
  let [piece] = await readRows<Piece>(platform, databaseId, find, [after, PIECE_ROWS])
  while (piece!.count > 0) {
    const { count, last } = piece!
    const batch = [
      { sql: remove, params: [after, last] },
      { sql: find, params: [last, PIECE_ROWS] },
    ]
    const [, found] = await repeatable(() => runBatch<Piece>(platform, databaseId, batch))
    deleted += count
    after = last
    ;[piece] = found!
  }
  return deleted
}
