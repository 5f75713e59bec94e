import { isDeepStrictEqual } from 'node:util'
import { UserError } from '../shell/errors.ts'

/** One `[table]` or `[[array of tables]]` of a wrangler.toml; the first one, without a name, is what stands above them. */
export interface Table {
  name: string
  /** As they are written: what one line holds, and lists of strings. */
  values: Map<string, string | string[]>
  /** Its head's line, and the line after its last one (`linesOf`). Blank lines belong to no table; for comments: `endOf`. */
  start: number
  end: number
}

/** With their line ends: joined, they are the text again. */
export const linesOf = (text: string): string[] => (text === '' ? [] : text.split(/(?<=\n)/))

/**
 * Reads the part of TOML that wrangler.toml is written in: a value a line, and lists that may take several. Throws
 * UserError with the line that can't be read.
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
  if (open) throw new UserError(`The list ${open.key} has no end.`, 'Close it with ].')
  return tables.map((table) => ({ ...table, end: endOf(lines, table.end) }))
}

function unreadable(index: number, line: string): never {
  throw new UserError(
    `Line ${index + 1} can't be read: ${line.trim()}`,
    'Write it as key = value, on a line of its own.',
  )
}

/** A comment right behind the last value belongs to it, unless it stands right before what follows. */
function endOf(lines: string[], afterValues: number): number {
  let end = afterValues
  while (/^\s*#/.test(lines[end] ?? '')) end++
  return (lines[end] ?? '').trim() === '' ? end : afterValues
}

/** The text with lines put in behind a line, with the line ends that it has. */
export function withLinesBehind(text: string, end: number, more: string[]): string {
  const lines = linesOf(text)
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n'
  const before = lines.slice(0, end).join('')
  const gap = before === '' || before.endsWith('\n') ? '' : lineEnd
  return before + gap + more.map((line) => line + lineEnd).join('') + lines.slice(end).join('')
}

/** A line with another value in the place of its own, which is no list. */
export const withValue = (line: string, value: string): string =>
  line.replace(/^([^=]*=\s*)(?:"[^"]*"|'[^']*'|[^\s#]+)/, (_, key: string) => `${key}"${value}"`)

/** An edited text, read again: throws UserError where it says anything but what these tables do. */
export function checkedEdit(text: string, intended: Table[]): string {
  const contents = (tables: Table[]) => tables.map(({ name, values }) => ({ name, values }))
  if (isDeepStrictEqual(contents(readTables(text)), contents(intended))) return text
  throw new UserError(
    'The configuration can’t be edited as it is written, and stays as it was.',
    'Write its blocks like the shipped wrangler.toml’s: one key = "value" a line.',
  )
}

/** `a = "b" # c` → `a = "b" `: a # within quotes is no comment. */
const withoutComment = (line: string): string => /^(?:[^"'#]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')*/.exec(line)?.[0] ?? ''

const headOf = (code: string): string | null => /^\[{1,2}\s*([\w.-]+)\s*\]{1,2}$/.exec(code)?.[1] ?? null

export const keyOf = (line: string): string | null => /^\s*"?([\w.-]+)"?\s*=/.exec(line)?.[1] ?? null

const BASIC = String.raw`"(?:[^"\\]|\\.)*"`
const LITERAL = "'[^']*'"
const WHOLE_STRING = new RegExp(`^(?:${BASIC}|${LITERAL})$`)
const STRINGS = new RegExp(`${BASIC}|${LITERAL}`, 'g')

/** Strings and lists of strings as what they say, all else as it is written; null for what is no value of one line. */
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

/** TOML's escapes are JSON's, but for `\/` and `\U0001f333`; a tab may stand as it is. */
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
