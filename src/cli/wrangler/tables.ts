import { isDeepStrictEqual } from 'node:util'
import { UserError } from '../shell/errors.ts'

/**
 * One `[table]` or `[[array of tables]]` of a wrangler.toml. The first table has no name and holds the top-level keys.
 */
export interface Table {
  name: string
  /** Values of one line as written, and lists of strings. */
  values: Map<string, string | string[]>
  /**
   * The head's line, and the line after the last one (`linesOf`). Blank lines belong to no table; comments, see
   * `endOf`.
   */
  start: number
  end: number
}

/** The lines with their line ends, so that joining them gives the text. */
export const linesOf = (text: string): string[] => (text === '' ? [] : text.split(/(?<=\n)/))

/**
 * Reads the subset of TOML that wrangler.toml uses: one value per line, and lists that may span several lines. Throws
 * UserError with the unreadable line.
 */
export function readTables(text: string): Table[] {
  const lines = linesOf(text)
  let table: Table = { name: '', values: new Map(), start: 0, end: 0 }
  const tables = [table]
  let open: { key: string; text: string } | null = null
  for (const [index, line] of lines.entries()) {
    const code = withoutComment(line).trim()
    if (!/^\s*(?:#|$)/.test(line.slice(withoutComment(line).length))) unreadable(index, line)
    if (code === '') continue
    const head = open ? null : headOf(code)
    if (head !== null) {
      table = { name: head, values: new Map(), start: index, end: index }
      tables.push(table)
    }
    table.end = index + 1
    if (head !== null) continue
    if (open) {
      open.text += code
      if (!code.endsWith(']')) continue
      table.values.set(open.key, stringsIn(open.text) ?? unreadable(index, line))
      open = null
      continue
    }
    const key = keyOf(code)
    if (key === null || table.values.has(key)) unreadable(index, code)
    if (/=\s*\[[^\]]*$/.test(code)) open = { key, text: code }
    else table.values.set(key, writtenValue(code) ?? unreadable(index, code))
  }
  if (open) throw new UserError(`The list ${open.key} in the configuration has no end.`, 'Close the list with ].')
  return tables.map((table) => ({ ...table, end: endOf(lines, table.end) }))
}

function unreadable(index: number, line: string): never {
  throw new UserError(
    `Line ${index + 1} of the configuration can't be read: ${line.trim()}`,
    'Write it as key = value on its own line.',
  )
}

/** A comment directly after the last value belongs to the table, unless the next table follows it directly. */
function endOf(lines: string[], afterValues: number): number {
  let end = afterValues
  while (/^\s*#/.test(lines[end] ?? '')) end++
  return (lines[end] ?? '').trim() === '' ? end : afterValues
}

/** Inserts lines after a line, with the text's line ends. */
export function withLinesBehind(text: string, end: number, more: string[]): string {
  const lines = linesOf(text)
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n'
  const before = lines.slice(0, end).join('')
  const gap = before === '' || before.endsWith('\n') ? '' : lineEnd
  return before + gap + more.map((line) => line + lineEnd).join('') + lines.slice(end).join('')
}

/** Replaces a line's value, which is not a list. */
export const withValue = (line: string, value: string): string =>
  line.replace(/^([^=]*=\s*)(?:"[^"]*"|'[^']*'|[^\s#]+)/, (_, key: string) => `${key}"${value}"`)

/** Reads an edited text again, and throws UserError unless its contents equal the intended tables. */
export function checkedEdit(text: string, intended: Table[]): string {
  const contents = (tables: Table[]) => tables.map(({ name, values }) => ({ name, values }))
  if (isDeepStrictEqual(contents(readTables(text)), contents(intended))) return text
  throw new UserError(
    'The configuration has a form that this command cannot edit. It was not changed.',
    'Write its blocks like those of the shipped wrangler.toml, with one key = "value" per line.',
  )
}

/** `a = "b" # c` → `a = "b" `. A # within quotes is not a comment. */
const withoutComment = (line: string): string => /^(?:[^"'#]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')*/.exec(line)?.[0] ?? ''

const headOf = (code: string): string | null => /^\[{1,2}\s*([\w.-]+)\s*\]{1,2}$/.exec(code)?.[1] ?? null

export const keyOf = (line: string): string | null => /^\s*"?([\w.-]+)"?\s*=/.exec(line)?.[1] ?? null

const BASIC = String.raw`"(?:[^"\\]|\\.)*"`
const LITERAL = "'[^']*'"
const WHOLE_STRING = new RegExp(`^(?:${BASIC}|${LITERAL})$`)
const STRINGS = new RegExp(`${BASIC}|${LITERAL}`, 'g')

/** Strings and lists of strings are unquoted, other values stay as written. Null if it is not a value of one line. */
function writtenValue(line: string): string | string[] | null {
  const value = withoutComment(line)
    .replace(/^[^=]*=/, '')
    .trim()
  if (value.startsWith('[')) return stringsIn(value)
  if (WHOLE_STRING.test(value)) return stringOf(value)
  return value.startsWith('{') || !/["']/.test(value) ? value : null
}

function stringsIn(list: string): string[] | null {
  const strings = [...list.matchAll(STRINGS)].map(([written]) => stringOf(written))
  return strings.some((text) => text === null) ? null : (strings as string[])
}

/** TOML's escapes are JSON's except `\/` and `\U0001f333`. A literal tab is allowed. */
function stringOf(written: string): string | null {
  if (written.startsWith("'")) return written.slice(1, -1)
  if (/\\[^btnfr"\\u]/.test(written.replaceAll('\\\\', ''))) return null
  try {
    return JSON.parse(written.replaceAll('\t', '\\t')) as string
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
