/**
 * SQLite's tokens (https://www.sqlite.org/lang.html), for code that must know what a statement does before a database
 * does. Blanks and comments are skipped.
 */
export interface SqlToken {
  /**
   * `word`: a keyword or a bare name. `name`: a quoted name. `text`: between single quotes; SQLite also accepts it as a
   * name where only a name can stand. `sign`: an operator or a bracket.
   */
  kind: 'word' | 'name' | 'text' | 'blob' | 'number' | 'parameter' | 'sign'
  /** The token without its quotes. */
  value: string
  /** Its position in the SQL. */
  start: number
  end: number
}

/** A statement's tokens: at least one. */
export type SqlStatement = [SqlToken, ...SqlToken[]]

/** The kinds of tokens, in the order of the pattern's groups. */
const kinds = ['blank', 'blob', 'text', 'name', 'number', 'parameter', 'word', 'sign'] as const

const pattern = new RegExp(
  [
    String.raw`([ \t\n\f\r][ \t\n\v\f\r]*|\ufeff|--[^\n]*|/\*[\s\S]*?(?:\*/|$))`,
    `([xX]'[^']*')`,
    `('[^']*(?:''[^']*)*')`,
    String.raw`("[^"]*(?:""[^"]*)*"|\`[^\`]*(?:\`\`[^\`]*)*\`|\[[^\]]*\])`,
    String.raw`(0[xX][0-9a-fA-F_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)`,
    String.raw`(\?[0-9]*|[:@$](?:[A-Za-z0-9_$\u0080-\uffff]|::)+(?:\([^\s)]*\))?)`,
    String.raw`([A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)`,
    String.raw`(->>|->|\|\||<=|>=|<>|<<|>>|==|!=|[\s\S])`,
  ].join('|'),
  'y',
)

/** The tokens of a text. An unclosed quote or comment is a `sign`, like everything that SQLite does not know. */
export function sqlTokens(sql: string): SqlToken[] {
  const tokens: SqlToken[] = []
  pattern.lastIndex = 0
  for (let match = pattern.exec(sql); match; match = pattern.exec(sql)) {
    const kind = kinds[groupOf(match)] ?? 'sign'
    if (kind === 'blank') continue
    const token = { kind, value: unquoted(kind, match[0]), start: match.index, end: pattern.lastIndex }
    tokens.push(token)
  }
  return tokens
}

/** The first group that matched. Named groups create an object per token and take ten times as long. */
function groupOf(match: RegExpExecArray): number {
  let group = 0
  while (match[group + 1] === undefined) group++
  return group
}

function unquoted(kind: string, text: string): string {
  if (kind !== 'name' && kind !== 'text') return text
  const quote = text.charAt(0)
  return quote === '[' ? text.slice(1, -1) : text.slice(1, -1).replaceAll(quote + quote, quote)
}

/** True for a bare word, in any case: `isWord(token, 'SELECT', 'WITH')`. */
export const isWord = (token: SqlToken | undefined, ...words: string[]): boolean =>
  token?.kind === 'word' && words.includes(token.value.toUpperCase())

export const isSign = (token: SqlToken | undefined, sign: string): boolean =>
  token?.kind === 'sign' && token.value === sign

/** The statements of a text, without their semicolons. A trigger's inner statements stay part of it. */
export function sqlStatements(sql: string): SqlStatement[] {
  const statements: SqlStatement[] = []
  let tokens: SqlToken[] = []
  for (const token of sqlTokens(sql)) {
    if (!isSign(token, ';') || isInsideTrigger(tokens)) tokens.push(token)
    else {
      if (isStatement(tokens)) statements.push(tokens)
      tokens = []
    }
  }
  if (isStatement(tokens)) statements.push(tokens)
  return statements
}

const isStatement = (tokens: SqlToken[]): tokens is SqlStatement => tokens.length > 0

/** The position in the SQL where a statement ends. */
export const endOf = (statement: SqlStatement): number => (statement.at(-1) ?? statement[0]).end

/** A statement's text, without the blanks and comments around it. */
export const textOf = (sql: string, statement: SqlStatement): string => sql.slice(statement[0].start, endOf(statement))

/** The pieces of a list, without the tokens that separate them. */
export function cutAt(tokens: SqlToken[], isCut: (token: SqlToken) => boolean): SqlToken[][] {
  let piece: SqlToken[] = []
  const pieces = [piece]
  for (const token of tokens) {
    if (isCut(token)) {
      piece = []
      pieces.push(piece)
    } else piece.push(token)
  }
  return pieces
}

/** A trigger ends with a semicolon and END, as in `sqlite3_complete()`. A CASE's END follows no semicolon. */
function isInsideTrigger(tokens: SqlToken[]): boolean {
  if (!isTrigger(tokens)) return false
  return !(isWord(tokens.at(-1), 'END') && isSign(tokens.at(-2), ';'))
}

const isTrigger = (tokens: SqlToken[]): boolean =>
  isWord(tokens[0], 'CREATE') && isWord(tokens[isWord(tokens[1], 'TEMP', 'TEMPORARY') ? 2 : 1], 'TRIGGER')

/** The index after the bracket that closes the one at `at`, or the end if none does. */
export function afterBrackets(tokens: SqlToken[], at: number): number {
  let depth = 0
  for (let place = at; place < tokens.length; place++) {
    if (isSign(tokens[place], '(')) depth++
    if (isSign(tokens[place], ')') && --depth === 0) return place + 1
  }
  return tokens.length
}

export interface SqlWrite {
  verb: 'INSERT' | 'REPLACE' | 'UPDATE' | 'DELETE'
  /** The table's name as written, without the schema's name. */
  table: string
}

/** The table that a statement writes to. Null for any other statement. */
export function writeOf(statement: SqlToken[]): SqlWrite | null {
  let at = 0
  if (isWord(statement[at], 'EXPLAIN')) at += isWord(statement[at + 1], 'QUERY') ? 3 : 1
  if (isWord(statement[at], 'WITH')) at = afterWith(statement, at)
  const verb = statement[at]
  if (!verb || !isWord(verb, 'INSERT', 'REPLACE', 'UPDATE', 'DELETE')) return null
  at++
  if (isWord(statement[at], 'OR')) at += 2
  if (isWord(statement[at], 'INTO', 'FROM')) at++
  const { name } = nameAt(statement, at)
  return name === null ? null : { verb: verb.value.toUpperCase() as SqlWrite['verb'], table: name }
}

/** The index of a statement's verb, after its common table expressions. */
export const verbAt = (statement: SqlToken[]): number => (isWord(statement[0], 'WITH') ? afterWith(statement, 0) : 0)

/** The index after `WITH name (columns) AS MATERIALIZED (SELECT …), …`. */
function afterWith(statement: SqlToken[], start: number): number {
  let at = start + 1
  if (isWord(statement[at], 'RECURSIVE') && !isWord(statement[at + 1], 'AS') && !isSign(statement[at + 1], '(')) at++
  for (;;) {
    at++ // its name
    if (isSign(statement[at], '(')) at = afterBrackets(statement, at)
    while (isWord(statement[at], 'AS', 'NOT', 'MATERIALIZED')) at++
    at = afterBrackets(statement, at)
    if (!isSign(statement[at], ',')) return at
    at++
  }
}

/** A name, with or without a schema, and the index after it. */
export function nameAt(statement: SqlToken[], at: number): { name: string | null; after: number } {
  const place = isSign(statement[at + 1], '.') ? at + 2 : at
  const token = statement[place]
  const isName = token?.kind === 'word' || token?.kind === 'name' || token?.kind === 'text'
  return { name: isName ? token.value : null, after: place + 1 }
}

export interface SqlTrigger {
  name: string
  /** The table or view that the trigger belongs to. */
  table: string
  /** The condition after WHEN, or empty. */
  when: SqlToken[]
  /** Its statements. */
  body: SqlStatement[]
}

/** The trigger that a statement creates. Null for any other statement. */
export function triggerOf(statement: SqlToken[]): SqlTrigger | null {
  if (!isTrigger(statement)) return null
  let at = statement.findIndex((token) => isWord(token, 'TRIGGER')) + 1
  if (isWord(statement[at], 'IF') && isWord(statement[at + 1], 'NOT')) at += 3
  const { name, after } = nameAt(statement, at)
  const on = statement.findIndex((token, place) => place >= after && isWord(token, 'ON'))
  const { name: table, after: afterTable } = nameAt(statement, on + 1)
  const begin = statement.findIndex((_, place) => place >= afterTable && isBegin(statement, place))
  if (name === null || table === null || on < 0 || begin < 0) return null
  const header = statement.slice(afterTable, begin)
  const when = header.findIndex((token) => isWord(token, 'WHEN'))
  return {
    name,
    table,
    when: when < 0 ? [] : header.slice(when + 1),
    body: cutAtSemicolons(statement.slice(begin + 1, -1)),
  }
}

/** BEGIN may also be a name without quotes. It starts the body only if a statement's first word follows. */
const isBegin = (statement: SqlToken[], at: number): boolean =>
  isWord(statement[at], 'BEGIN') &&
  isWord(statement[at + 1], 'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'WITH', 'VALUES')

const cutAtSemicolons = (tokens: SqlToken[]): SqlStatement[] =>
  cutAt(tokens, (token) => isSign(token, ';')).filter(isStatement)
