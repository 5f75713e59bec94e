import { UserError } from '../shell/errors.ts'
import { CUT_OFF } from './odd-text.ts'

/** Of a longer record only the fields that end before this are kept, and `CUT_OFF` in place of the others. */
const RECORD_CHARACTERS_MAX = 1_048_576

/** How a file of records is written. */
export interface CsvForm {
  /** One character. */
  delimiter: string
  /** Fields may be quoted: then they hold delimiters, line breaks, and quotes (doubled). */
  hasQuotes: boolean
  /** A backslash escapes what follows it, as PostgreSQL's text format and MySQL write. */
  hasEscapes: boolean
  /** Unquoted fields that are NULL, as they are written. */
  nulls: string[]
}

const RFC_4180: CsvForm = { delimiter: ',', hasQuotes: true, hasEscapes: false, nulls: [] }

/** Null is a field that is NULL: an empty one is an empty text. */
export type CsvRecord = (string | null)[]

/** Reads records (RFC 4180, or another form) as they come. */
export class CsvRecords {
  readonly #form: CsvForm
  /** What ends or changes a field that is not quoted, and one that is. */
  readonly #plainStop: RegExp
  readonly #quotedStop: RegExp
  #text = ''
  #line = 1
  /** Set while a record is passed over that is too long to keep. */
  #long: LongRecord | null = null

  constructor(form: CsvForm = RFC_4180) {
    this.#form = form
    const backslash = form.hasEscapes ? '\\\\' : ''
    this.#plainStop = new RegExp(`[${backslash}\\r\\n${form.delimiter.replace(/[\\\]^-]/, '\\$&')}]`, 'g')
    this.#quotedStop = new RegExp(`["${backslash}]`, 'g')
  }

  /** The records that end in this piece. */
  push(piece: string): CsvRecord[] {
    this.#text += piece
    return this.#cut(false)
  }

  /** The last record, where no line break follows it. Throws UserError for a quote that nothing closes. */
  end(): CsvRecord[] {
    return this.#cut(true)
  }

  #cut(isEnd: boolean): CsvRecord[] {
    const records: CsvRecord[] = []
    let at = 0
    while (at < this.#text.length || (isEnd && this.#long)) {
      const record = this.#long ? this.#restOfLong(this.#long, at, isEnd) : this.#record(at, isEnd)
      if (record.end === null) {
        if (this.#text.length - at <= RECORD_CHARACTERS_MAX) break
        this.#long = { kept: record.fields, state: 'start', lines: 0 }
        continue
      }
      // However the pieces fall, the same records are too long.
      const isLong = record.end - at > RECORD_CHARACTERS_MAX
      records.push(isLong ? [...record.fields.slice(0, -1), CUT_OFF] : record.fields)
      this.#line += record.lines
      at = record.end
    }
    this.#text = this.#text.slice(at)
    return records.filter((fields) => fields.length > 1 || fields[0] !== '')
  }

  /** The record that begins at `at`. Its `end` is null when that hasn't come yet; the fields are those that have. */
  #record(at: number, isEnd: boolean): { fields: CsvRecord; end: number | null; lines: number } {
    const text = this.#text
    const fields: CsvRecord = []
    let position = at
    let lines = 0
    for (;;) {
      const isQuoted = this.#form.hasQuotes && text[position] === '"'
      const close = isQuoted ? this.#closingQuote(position) : this.#plainEnd(position)
      // A quote at the very end may be the first of two; behind a field the delimiter may still come.
      if (close < 0 || (!isEnd && close >= (isQuoted ? text.length - 1 : text.length))) {
        if (isEnd && isQuoted) throw this.#unclosed(lines)
        if (!isEnd) return { fields, end: null, lines }
      }
      const raw = isQuoted ? text.slice(position + 1, close) : text.slice(position, close < 0 ? undefined : close)
      if (isQuoted || this.#form.hasEscapes) lines += raw.split('\n').length - 1
      fields.push(this.#valueOf(raw, isQuoted))
      position = close < 0 ? text.length : close + (isQuoted ? 1 : 0)
      const after = text[position]
      if (after === this.#form.delimiter) position++
      else if (after === undefined) return { fields, end: position, lines }
      else if (after === '\n') return { fields, end: position + 1, lines: lines + 1 }
      else if (after === '\r') {
        if (position + 1 === text.length && !isEnd) return { fields, end: null, lines }
        const end = text[position + 1] === '\n' ? position + 2 : position + 1
        return { fields, end, lines: lines + 1 }
      } else
        throw new UserError(
          `Line ${this.#line + lines}: "${after}" follows a quoted field.`,
          raw.endsWith('\\')
            ? 'If the file writes \\" for a quote, as MySQL does, pass --escape backslash.'
            : 'A field with a quote in it is quoted, and the quote doubled.',
        )
    }
  }

  /** Where the quoted field that begins at `opening` ends, or -1. */
  #closingQuote(opening: number): number {
    const stop = this.#quotedStop
    stop.lastIndex = opening + 1
    for (let found = stop.exec(this.#text); found; found = stop.exec(this.#text)) {
      const isClosing = found[0] === '"' && this.#text[found.index + 1] !== '"'
      if (isClosing) return found.index
      stop.lastIndex = found.index + 2
    }
    return -1
  }

  /** Where the field that begins at `from` ends: the text's length where nothing ends it, -1 within an escape. */
  #plainEnd(from: number): number {
    const stop = this.#plainStop
    stop.lastIndex = from
    for (let found = stop.exec(this.#text); found; found = stop.exec(this.#text)) {
      if (found[0] !== '\\' || !this.#form.hasEscapes) return found.index
      if (found.index + 1 >= this.#text.length) return -1
      stop.lastIndex = found.index + 2
    }
    return this.#text.length
  }

  #valueOf(raw: string, isQuoted: boolean): string | null {
    if (!isQuoted && this.#form.nulls.includes(raw)) return null
    const value = isQuoted ? raw.replaceAll('""', '"') : raw
    return this.#form.hasEscapes ? unescaped(value) : value
  }

  /** Passes over a record that is too long: a huge field costs its own record, and memory for one piece. */
  #restOfLong(long: LongRecord, at: number, isEnd: boolean): { fields: CsvRecord; end: number | null; lines: number } {
    for (let position = at; position < this.#text.length; position++) {
      const character = this.#text.charAt(position)
      if (character === '\n') long.lines++
      const before = long.state
      long.state = afterCharacter(before, character, this.#form)
      if (!'\r\n'.includes(character) || !['start', 'plain', 'closing'].includes(before)) continue
      this.#long = null
      return { fields: [...long.kept, CUT_OFF], end: position + 1, lines: long.lines }
    }
    if (isEnd && long.state === 'quoted') throw this.#unclosed(0)
    if (isEnd) this.#long = null
    else this.#text = ''
    return { fields: [...long.kept, CUT_OFF], end: isEnd ? this.#text.length : null, lines: long.lines }
  }

  #unclosed = (lines: number): UserError =>
    new UserError(`Line ${this.#line + lines}: a quote is not closed.`, 'Fix the quote on that line of the file.')
}

/** One of which no more is kept. */
interface LongRecord {
  kept: CsvRecord
  state: SkipState
  lines: number
}

/** Where in a field a character stands. */
type SkipState = 'start' | 'plain' | 'quoted' | 'closing' | 'escaped' | 'quoted escaped'

function afterCharacter(state: SkipState, character: string, form: CsvForm): SkipState {
  if (state === 'quoted escaped') return 'quoted'
  if (state === 'escaped') return 'plain'
  const isEscape = form.hasEscapes && character === '\\'
  if (state === 'quoted') return isEscape ? 'quoted escaped' : character === '"' ? 'closing' : 'quoted'
  if (state === 'closing' && character === '"') return 'quoted'
  if (isEscape) return 'escaped'
  if (character === form.delimiter || character === '\n') return 'start'
  return state === 'start' && form.hasQuotes && character === '"' ? 'quoted' : 'plain'
}

/** Those of PostgreSQL and MySQL; before any other character the backslash only takes its meaning away. */
const escapes: Record<string, string> = {
  '0': '\0',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  Z: '\u001a',
}

const unescaped = (text: string): string =>
  text.includes('\\') ? text.replace(/\\([\s\S])/g, (_, character: string) => escapes[character] ?? character) : text

/** One line of CSV. */
export const csvLine = (fields: string[]): string =>
  `${fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}\r\n`
