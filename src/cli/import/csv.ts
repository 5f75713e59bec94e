import { UserError } from '../shell/errors.ts'
import { CUT_OFF } from './odd-text.ts'

/** A longer record keeps only the fields that end before this limit, with `CUT_OFF` in place of the others. */
const RECORD_CHARACTERS_MAX = 1_048_576

/** The form of a file of records. */
export interface CsvForm {
  /** One character. */
  delimiter: string
  /** Fields may be quoted. A quoted field may contain delimiters, line breaks and doubled quotes. */
  hasQuotes: boolean
  /** A backslash escapes the next character, as in PostgreSQL's text format and in MySQL's files. */
  hasEscapes: boolean
  /** Unquoted texts that mean NULL. */
  nulls: string[]
}

const RFC_4180: CsvForm = { delimiter: ',', hasQuotes: true, hasEscapes: false, nulls: [] }

/** A null field is NULL. An empty field is an empty string. */
export type CsvRecord = (string | null)[]

/** Reads a stream of records (RFC 4180, or another form). */
export class CsvRecords {
  readonly #form: CsvForm
  /** Characters that end or change an unquoted field, and a quoted one. */
  readonly #plainStop: RegExp
  readonly #quotedStop: RegExp
  #text = ''
  #line = 1
  /** Set while skipping a record that is too long to keep. */
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

  /** The last record, if no line break follows it. Throws UserError for an unclosed quote. */
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
      // The limit must not depend on where the pieces end.
      const isLong = record.end - at > RECORD_CHARACTERS_MAX
      records.push(isLong ? [...record.fields.slice(0, -1), CUT_OFF] : record.fields)
      this.#line += record.lines
      at = record.end
    }
    this.#text = this.#text.slice(at)
    return records.filter((fields) => fields.length > 1 || fields[0] !== '')
  }

  /** The record that starts at `at`. If it is incomplete, `end` is null and `fields` holds its complete fields. */
  #record(at: number, isEnd: boolean): { fields: CsvRecord; end: number | null; lines: number } {
    const text = this.#text
    const fields: CsvRecord = []
    let position = at
    let lines = 0
    for (;;) {
      const isQuoted = this.#form.hasQuotes && text[position] === '"'
      const close = isQuoted ? this.#closingQuote(position) : this.#plainEnd(position)
      // A quote at the very end may be the first of two, and the delimiter of the last field may still come.
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
            ? 'If the file has \\" for a quote, as MySQL writes it, pass --escape backslash.'
            : 'Quote a field that contains a quote, and double that quote.',
        )
    }
  }

  /** The end of the quoted field that starts at `opening`, or -1. */
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

  /** The end of the field that starts at `from`: the text's length if nothing ends it, -1 inside an escape. */
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

  /** Skips the rest of a record that is too long, so that a huge field takes memory for one piece only. */
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

/** A record that is too long, with the fields that are kept. */
interface LongRecord {
  kept: CsvRecord
  state: SkipState
  lines: number
}

/** The position of a character in a field. */
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

/** The escapes of PostgreSQL and MySQL. Before any other character, the backslash is dropped. */
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
