import { UserError } from '../shell/errors.ts'
import type { CsvForm } from './csv.ts'
import type { ImportOptions } from './options.ts'

const DELIMITERS = [',', ';', '\t', '|']
const names: Record<string, string> = { '\t': 'tab' }

export const nameOf = (delimiter: string): string => names[delimiter] ?? `"${delimiter}"`

/** What the user says of a file of records. */
export interface CsvOptions {
  delimiter: string | null
  /** Null: not said. Then a file in which escapes may stand is refused. */
  escape: 'backslash' | 'none' | null
  /** An unquoted field that is NULL, besides `\N`. */
  nullText: string | null
  /** Fields that are missing at the end of a record are empty. */
  isFilled: boolean
}

/** Throws UserError for values that no file has. */
export function readCsvOptions(options: ImportOptions): CsvOptions {
  const style = options.escape ?? null
  if (style !== null && style !== 'backslash' && style !== 'none')
    throw new UserError(`--escape is "${style}".`, 'It may be backslash or none.')
  return {
    delimiter: readDelimiter(options.delimiter),
    escape: style,
    nullText: options.null ?? null,
    isFilled: options.fill ?? false,
  }
}

function readDelimiter(text: string | undefined): string | null {
  if (text === undefined) return null
  const delimiter = text === 'tab' || text === '\\t' ? '\t' : text
  if (delimiter.length === 1 && !/["\\\r\n\ud800-\udfff]/.test(delimiter)) return delimiter
  throw new UserError(`--delimiter is "${text}".`, 'It is one character, like , or ; or |, or the word tab.')
}

/**
 * The form of a file that begins with `head`, and how many characters of it come before the header. Excel's first line
 * `sep=;` names the delimiter; otherwise it is the one that the header has. Throws UserError if the header has several.
 */
export function csvFormOf(head: string, options: CsvOptions): { form: CsvForm; skipped: number } {
  const said = /^sep=(.)\r?\n/.exec(head)
  const delimiter = options.delimiter ?? said?.[1] ?? delimiterOf(head)
  const hasEscapes = options.escape === 'backslash'
  const nulls = options.nullText === null ? ['\\N'] : ['\\N', options.nullText]
  // With tabs and backslashes it is the text format of PostgreSQL or MySQL: a quote stands for itself.
  const form = { delimiter, hasQuotes: !(hasEscapes && delimiter === '\t'), hasEscapes, nulls }
  return { form, skipped: said?.[0].length ?? 0 }
}

function delimiterOf(head: string): string {
  const [header = ''] = head.replaceAll(/"(?:[^"]|"")*"/g, '').split(/[\r\n]/, 1)
  const found = DELIMITERS.filter((delimiter) => header.includes(delimiter))
  if (found.length <= 1) return found[0] ?? ','
  throw new UserError(
    `The first line has ${found.map(nameOf).join(' and ')}: which one is between the fields?`,
    `Name it: ${found.map((delimiter) => `--delimiter ${names[delimiter] ?? `"${delimiter}"`}`).join(' or ')}.`,
  )
}
