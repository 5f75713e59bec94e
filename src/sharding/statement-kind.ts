import { isSign, isWord, type SqlToken, sqlTokens, verbAt } from '../core/sql-tokens.ts'

/** The properties of a statement that the router must know before a database sees it. */
export interface StatementKind {
  /** It cannot write. A wrong `false` costs a read two statements. A wrong `true` would drop a write's guard. */
  isRead: boolean
  /** The text has no statement, only blanks, comments and semicolons. */
  isEmpty: boolean
}

/** An application has a few hundred distinct texts. A text with inlined values is not worth keeping. */
const kindsMax = 1_000
const keptCharactersMax = 4_000
const kinds = new Map<string, StatementKind>()

/** Classifies the text by SQLite's token rules, once per distinct text. */
export function statementKind(sql: string): StatementKind {
  const known = kinds.get(sql)
  if (known) return known
  const kind = readKind(sql)
  if (sql.length > keptCharactersMax) return kind
  if (kinds.size >= kindsMax) kinds.clear()
  kinds.set(sql, kind)
  return kind
}

function readKind(sql: string): StatementKind {
  const tokens = sqlTokens(sql)
  const first = tokens.findIndex((token) => !isSign(token, ';'))
  if (first < 0) return { isRead: false, isEmpty: true }
  const end = tokens.findIndex((token, place) => place > first && isSign(token, ';'))
  const statement = tokens.slice(first, end < 0 ? tokens.length : end)
  const isSingle = first === 0 && (end < 0 || tokens.slice(end).every((token) => isSign(token, ';')))
  return { isRead: isSingle && isCertain(sql, tokens) && reads(statement), isEmpty: false }
}

/**
 * False for a text that SQLite may tokenise differently: it ends at a NUL, an unclosed quote is not a token, and
 * `$name(…)` is one token in some builds and several in others.
 */
const isCertain = (sql: string, tokens: SqlToken[]): boolean =>
  !sql.includes('\0') &&
  tokens.every(({ kind, value }) =>
    kind === 'sign' ? !/^['"`[]$/.test(value) : kind !== 'parameter' || !/[(:]/.test(value.slice(1)),
  )

function reads(statement: SqlToken[]): boolean {
  if (isWord(statement[0], 'PRAGMA')) return reports(statement)
  if (!isWord(statement[0], 'EXPLAIN')) return isQuery(statement)
  const explained = statement.slice(isWord(statement[1], 'QUERY') ? 3 : 1)
  const isWrite = isWord(explained[verbAt(explained)], 'INSERT', 'UPDATE', 'DELETE', 'REPLACE')
  // Some pragmas take effect when they are compiled.
  return isWrite || (isWord(explained[0], 'PRAGMA') ? reports(explained) : isQuery(explained))
}

/** True for SELECT and VALUES, including after WITH. */
export const isQuery = (statement: SqlToken[]): boolean => isWord(statement[verbAt(statement)], 'SELECT', 'VALUES')

/** Pragmas that only report, with or without a value. */
const reportsOfSchema = new Set([
  'foreign_key_check',
  'foreign_key_list',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
])
/** Pragmas that report a setting, but change it if a value follows. */
const settings = new Set([
  'data_version',
  'defer_foreign_keys',
  'foreign_keys',
  'ignore_check_constraints',
  'legacy_alter_table',
  'page_count',
  'page_size',
  'recursive_triggers',
  'reverse_unordered_selects',
])

function reports(statement: SqlToken[]): boolean {
  const at = isSign(statement[2], '.') ? 3 : 1
  const name = statement[at]?.value.toLowerCase() ?? ''
  return reportsOfSchema.has(name) || (settings.has(name) && statement.length === at + 1)
}
