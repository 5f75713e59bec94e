import { present } from '../core/present.ts'
import { misuse } from './answers.ts'
import type { Sql } from './row-arrays.ts'
import { statementKind } from './statement-kind.ts'

export type Connection = D1Database | D1DatabaseSession

/** A statement, and whether it needs the guard. */
export interface SentStatement extends Sql {
  isRead: boolean
}

/** How many rows the capture has ever written in this shard. AUTOINCREMENT counts pruned rows too. */
const CAPTURED = "SELECT seq FROM sqlite_sequence WHERE name = 'slot_changes'"
export const GUARD = `INSERT INTO slot_guard (keyspace, slot) VALUES (?, ?) RETURNING (${CAPTURED}) AS seq`

// ── a guarded batch: guard, statement, CAPTURED, statement, CAPTURED, … ───────────────────────────

/** The index of a statement's answer, and of the count of captured rows after it. A read has no count. */
interface Place {
  at: number
  countAt: number | null
}

/** `guards`: how many statements are sent before these. */
export function guardedBatch(statements: SentStatement[], guards: number) {
  const sent: Sql[] = []
  const own = statements.map(({ sql, values, isRead }): Place => {
    const send = (one: Sql) => guards + sent.push(one) - 1
    const at = send({ sql, values })
    return { at, countAt: isRead ? null : send({ sql: CAPTURED, values: [] }) }
  })
  return { sent, own }
}

/**
 * Corrects `meta.changes`, which includes rows written by triggers. Rows written by a user's trigger or a cascade count
 * for the statement, as in D1. Rows written by the capture while the slot moves do not.
 */
export function withOwnChanges<T>(answers: D1Result<T>[], own: Place[]): D1Result<T>[] {
  const capturedAt = (place: number) => (answers[place]?.results[0] as { seq: number | null } | undefined)?.seq ?? 0
  let before = capturedAt(0)
  return own.map(({ at, countAt }) => {
    const answer = present(answers[at], 'an answer to each statement')
    if (countAt === null) return answer
    const after = capturedAt(countAt)
    const changes = answer.meta.changes - (after - before)
    before = after
    return { ...answer, meta: { ...answer.meta, changes } }
  })
}

/**
 * Refuses statements that a batch can't hold, with D1's messages. D1 omits an empty text from its answers, which would
 * shift all later answers.
 */
export function refuseUnsendable(statements: Sql[]): void {
  for (const { sql } of statements) {
    if (typeof sql !== 'string') throw misuse(`Type '${typeof sql}' not supported for a statement`, 'D1_TYPE_ERROR')
    if (!statementKind(sql).isEmpty) continue
    const isLeftOut = sql.replace(/^\s+--.*/gm, '').trim() === ''
    if (!isLeftOut) throw misuse('SQL code did not contain a statement.')
    throw misuse('No SQL statements detected.')
  }
}

export const bound = (database: Connection, { sql, values }: Sql) => database.prepare(sql).bind(...values)

export const boundAll = (database: Connection, statements: Sql[]) =>
  statements.map((statement) => bound(database, statement))
