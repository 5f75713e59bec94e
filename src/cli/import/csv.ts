import { UserError } from '../shell/errors.ts'

/** A record that is longer has a quote that nothing closes. */
const RECORD_CHARACTERS_MAX = 1_048_576

/** Reads CSV (RFC 4180) as it comes: fields may be quoted and hold commas, quotes (doubled) and line breaks. */
export class CsvRecords {
  #text = ''
  #line = 1

  /** The records that end in this piece. */
  push(piece: string): string[][] {
    this.#text += piece
    return this.#cut(false)
  }

  /** The last record, where no line break follows it. */
  end(): string[][] {
    return this.#cut(true)
  }

  #cut(isEnd: boolean): string[][] {
    const records: string[][] = []
    let at = 0
    while (at < this.#text.length) {
      const record = this.#record(at, isEnd)
      if (!record) break
      records.push(record.fields)
      this.#line += record.lines
      at = record.end
    }
    this.#text = this.#text.slice(at)
    if (this.#text.length > RECORD_CHARACTERS_MAX)
      throw new UserError(
        `Line ${this.#line}: the record has more than a million characters.`,
        'Is a quote not closed?',
      )
    return records.filter((fields) => fields.length > 1 || fields[0] !== '')
  }

  /** The record that begins at `at`, or null when its end hasn't come yet. */
  #record(at: number, isEnd: boolean): { fields: string[]; end: number; lines: number } | null {
    const text = this.#text
    const fields: string[] = []
    let position = at
    let lines = 0
    for (;;) {
      let field = ''
      if (text[position] === '"') {
        const close = closingQuote(text, position)
        // A quote at the very end may be the first of two.
        if (close < 0 || (close === text.length - 1 && !isEnd)) {
          if (isEnd) throw new UserError(`Line ${this.#line + lines}: a quote is not closed.`, 'Mend it there.')
          return null
        }
        const raw = text.slice(position + 1, close)
        lines += raw.split('\n').length - 1
        field = raw.replaceAll('""', '"')
        position = close + 1
      } else {
        const end = nextBreak(text, position)
        if (end === text.length && !isEnd) return null
        field = text.slice(position, end)
        position = end
      }
      fields.push(field)
      const after = text[position]
      if (after === ',') position++
      else if (after === undefined) return { fields, end: position, lines }
      else if (after === '\n') return { fields, end: position + 1, lines: lines + 1 }
      else if (after === '\r') {
        if (position + 1 === text.length && !isEnd) return null
        const end = text[position + 1] === '\n' ? position + 2 : position + 1
        return { fields, end, lines: lines + 1 }
      } else
        throw new UserError(
          `Line ${this.#line + lines}: "${after}" follows a quoted field.`,
          'A field with a quote in it is quoted, and the quote doubled.',
        )
    }
  }
}

function closingQuote(text: string, opening: number): number {
  let at = text.indexOf('"', opening + 1)
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2)
  return at
}

function nextBreak(text: string, from: number): number {
  const next = /[,\r\n]/g
  next.lastIndex = from
  return next.exec(text)?.index ?? text.length
}

/** One line of CSV. */
export const csvLine = (fields: string[]): string =>
  `${fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}\r\n`
