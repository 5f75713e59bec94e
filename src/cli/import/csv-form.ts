import { UserError } from '../shell/errors.ts'
import type { CsvForm } from './csv.ts'
import type { ImportOptions } from './options.ts'

const DELIMITERS = [',', ';', '\t', '|']
const names: Record<string, string> = { '\t': 'tab' }

export const nameOf = (delimiter: string): string => names[delimiter] ?? `"${delimiter}"`

/** The user's options for a file of records. */
export interface CsvOptions {
  delimiter: string | null
  /** Null if not given. A file that may contain escapes is then refused. */
  escape: 'backslash' | 'none' | null
  /** An unquoted field that is NULL, besides `\N`. */
  nullText: string | null
  /** True if fields missing at the end of a record count as empty. */
  isFilled: boolean
}

/** Reads the options. Throws UserError for invalid values. */
export function readCsvOptions(options: ImportOptions): CsvOptions {
  const style = options.escape ?? null
  if (style !== null && style !== 'backslash' && style !== 'none')
    throw new UserError(`--escape is "${style}".`, 'Pass backslash or none.')
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
  throw new UserError(`--delimiter is "${text}".`, 'Pass one character, like , or ; or |, or the word tab.')
}

/**
 * The form of a file that starts with `head`, and the number of characters before the header. Excel's first line
 * `sep=;` names the delimiter; otherwise the header shows it. Throws UserError if the header has several.
 */
export function csvFormOf(head: string, options: CsvOptions): { form: CsvForm; skipped: number } {
  const said = /^sep=(.)\r?\n/.exec(head)
  const delimiter = options.delimiter ?? said?.[1] ?? delimiterOf(head)
  const hasEscapes = options.escape === 'backslash'
  const nulls = options.nullText === null ? ['\\N'] : ['\\N', options.nullText]
  // Tabs with backslashes mean the text format of PostgreSQL or MySQL, in which a quote is an ordinary character.
  const form = { delimiter, hasQuotes: !(hasEscapes && delimiter === '\t'), hasEscapes, nulls }
  return { form, skipped: said?.[0].length ?? 0 }
}

function delimiterOf(head: string): string {
  const [header = ''] = head.replaceAll(/"(?:[^"]|"")*"/g, '').split(/[\r\n]/, 1)
  const found = DELIMITERS.filter((delimiter) => header.includes(delimiter))
  if (found.length <= 1) return found[0] ?? ','
  throw new UserError(
    `The first line has ${found.map(nameOf).join(' and ')}, so the delimiter is unclear.`,
    `Pass ${found.map((delimiter) => `--delimiter ${names[delimiter] ?? `"${delimiter}"`}`).join(' or ')}.`,
  )
}
