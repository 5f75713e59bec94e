import { present } from '../core/present.ts'
import { foldedName } from '../core/sql-text.ts'
import {
  cutAt,
  endOf,
  isSign,
  isWord,
  nameAt,
  type SqlStatement,
  type SqlToken,
  sqlStatements,
  textOf,
  verbAt,
} from '../core/sql-tokens.ts'
import { isQuery } from './statement-kind.ts'

export interface Sql {
  sql: string
  values: unknown[]
}

/**
 * The form in which a statement is sent in a batch so that its rows can be returned as arrays. D1's batch answers with
 * objects, in which columns with equal names are merged and numeric names come first.
 */
export interface ArraysForm extends Sql {
  /** The statement is as its caller wrote it, so its errors refer to that text. */
  isOwn: boolean
  /**
   * A query whose column names, read with `raw({ columnNames })`, are the objects' keys in order. Null if there are no
   * columns.
   */
  keys: Sql | null
  /** A query like `keys`, whose column names are those of D1. */
  names: Sql | null
  /** The objects' keys equal the column names. */
  isNamed: boolean
  /** One key may stand for several columns. */
  repeatsKeys: boolean
}

/** If a text has several statements, the answer has the last one's rows, and it takes all values. */
export function arraysForm({ sql, values }: Sql): ArraysForm {
  const statement = present(sqlStatements(sql).at(-1), 'a statement: empty texts are refused before')
  const own = { sql, values, isOwn: true, keys: null, names: null, isNamed: true, repeatsKeys: false }
  const text = { sql: textOf(sql, statement), values }
  if (isWord(statement[0], 'PRAGMA', 'EXPLAIN')) return { ...own, keys: text, names: text }
  if (isQuery(statement)) return wrapped({ sql, values }, statement, text)
  const found = statement.entries().find(([, token]) => isWord(token, 'RETURNING'))
  return found ? returning(own, statement, ...found) : own
}

// ── a query: as a subquery, whose columns SQLite gives distinct names ─────────────────────────────

function wrapped({ sql, values }: Sql, statement: SqlStatement, text: Sql): ArraysForm {
  const end = endOf(statement)
  const subquery = `SELECT * FROM (${text.sql}\n)`
  const comments = blanksAfter(sql, end)
  return {
    // D1 refuses some text after a semicolon. It then refuses this form, too.
    sql: sql.slice(0, statement[0].start) + subquery + sql.slice(end + comments.length),
    values,
    isOwn: false,
    keys: { sql: `${subquery} LIMIT 0`, values },
    // A comment can be part of a name.
    names: { sql: text.sql + comments, values },
    isNamed: false,
    repeatsKeys: false,
  }
}

/** The blanks and comments that start at `at`. */
const blanksAfter = (sql: string, at: number): string =>
  /^(?:\s|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))*/.exec(sql.slice(at))?.[0] ?? ''

const isClosed = (blanks: string): boolean => /^(?:\s|--[^\n]*|\/\*[\s\S]*?\*\/)*$/.test(blanks)

// ── a write with RETURNING: each of its columns gets a name of its own ────────────────────────────

interface Column {
  tokens: SqlToken[]
  isStar: boolean
  /** The column's name if the text states it. Null for an expression. */
  name: string | null
  /** Where the column's alias starts, including AS. Without an alias, where the column ends. */
  aliasAt: number
}

function returning(own: ArraysForm, statement: SqlStatement, place: number, keyword: SqlToken): ArraysForm {
  const { sql } = own
  const columns = columnsOf(statement.slice(place + 1))
  const from = sourceOf(sql, statement)
  const asked = (list: string): Sql => {
    const select = `${from.before}SELECT ${list}\nFROM ${from.table} LIMIT 0`
    return { sql: select, values: Array(parametersOf(select)).fill(null) }
  }
  const end = endOf(statement)
  const comments = blanksAfter(sql, end)
  // A comment can be part of a name.
  const names = asked(sql.slice(keyword.end, end) + (isClosed(comments) ? comments : ''))
  if (isPlain(columns)) return { ...own, keys: names, names }
  const renamed = columns.map(({ tokens, isStar, aliasAt }, index) =>
    isStar ? '*' : `${sql.slice(tokens[0]?.start, aliasAt)} AS "column ${index}"`,
  )
  const start = statement[place + 1]?.start ?? sql.length
  return {
    ...own,
    sql: sql.slice(0, start) + renamed.join(', ') + sql.slice(end),
    isOwn: false,
    keys: asked(renamed.join(', ')),
    names,
    isNamed: false,
    repeatsKeys: columns.filter(({ isStar }) => isStar).length > 1,
  }
}

function columnsOf(list: SqlToken[]): Column[] {
  let depth = 0
  const isBetween = (token: SqlToken) => {
    if (isSign(token, '(')) depth++
    if (isSign(token, ')')) depth--
    return depth === 0 && isSign(token, ',')
  }
  return cutAt(list, isBetween).map(columnOf)
}

function columnOf(tokens: SqlToken[]): Column {
  const last = tokens.at(-1)
  const end = last?.end ?? 0
  const isStar = tokens.length === 1 && isSign(last, '*')
  if (last && hasAlias(tokens)) {
    const before = tokens.at(-2)
    const { start } = before && isWord(before, 'AS') ? before : last
    return { tokens, isStar, name: last.value, aliasAt: start }
  }
  const isReference = tokens.length === 1 || (tokens.length === 3 && isSign(tokens[1], '.'))
  const isName = last?.kind === 'name' || (last?.kind === 'word' && !isRowid(last))
  return { tokens, isStar, name: isReference && isName ? last.value : null, aliasAt: end }
}

/** A row id takes the name of the primary key if that is one INTEGER. */
const isRowid = (token: SqlToken): boolean => isWord(token, 'ROWID', 'OID', '_ROWID_')

/** An operand follows each of these. */
const operators =
  'AND OR NOT IS IN BETWEEN LIKE GLOB MATCH REGEXP COLLATE ESCAPE FROM DISTINCT CASE WHEN THEN ELSE EXISTS'.split(' ')

/** Matches `expression AS name`, and `expression name`: a name after a token that can end an expression. */
function hasAlias(tokens: SqlToken[]): boolean {
  const [before, last] = [tokens.at(-2), tokens.at(-1)]
  if (!before || !last || !['word', 'name', 'text'].includes(last.kind)) return false
  if (isWord(before, 'AS')) return true
  // These are names too if no operator can stand here.
  if (tokens.length === 2 && isWord(before, 'LIKE', 'GLOB', 'MATCH', 'REGEXP')) return true
  if (isWord(last, 'NULL', 'ISNULL', 'NOTNULL') || (isWord(last, 'END') && isInsideCase(tokens))) return false
  return before.kind === 'sign' ? before.value === ')' : !isWord(before, ...operators)
}

const isInsideCase = (tokens: SqlToken[]): boolean =>
  tokens.filter((token) => isWord(token, 'CASE')).length >
  tokens.slice(0, -1).filter((token) => isWord(token, 'END')).length

/** True if an object keeps all columns apart and in order: distinct names, none of them a number; or one `*`. */
function isPlain(columns: Column[]): boolean {
  if (columns.some(({ isStar }) => isStar)) return columns.length === 1
  const names = columns.map(({ name }) => (name === null ? null : foldedName(name)))
  return new Set(names).size === names.length && names.every((name) => name !== null && !/^\d+$/.test(name))
}

/** The table that is written, and the common table expressions before it, which RETURNING can see. */
function sourceOf(sql: string, statement: SqlStatement): { before: string; table: string } {
  const verb = verbAt(statement)
  let at = verb + 1
  if (isWord(statement[at], 'OR')) at += 2
  if (isWord(statement[at], 'INTO', 'FROM')) at++
  const { after } = nameAt(statement, at)
  const name = sql.slice(statement[at]?.start, statement[after - 1]?.end)
  // With `main.`, the name cannot mean a common table expression.
  const table = isSign(statement[at + 1], '.') ? name : `main.${name}`
  return { before: sql.slice(statement[0].start, statement[verb]?.start), table }
}

/** How many values a statement takes. `?` takes the next place, and each name takes one. */
function parametersOf(sql: string): number {
  let count = 0
  const named = new Set<string>()
  for (const token of sqlStatements(sql).flat()) {
    if (token.kind !== 'parameter' || named.has(token.value)) continue
    const number = token.value.slice(1)
    if (token.value.startsWith('?') && number !== '') count = Math.max(count, Number(number))
    else count++
    if (!token.value.startsWith('?')) named.add(token.value)
  }
  return count
}
