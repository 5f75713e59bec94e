import { quotedName } from '../../core/sql-text.ts'
import { UserError } from '../shell/errors.ts'

/** Limits a statement's length, because it is held in memory as a whole. */
const STATEMENT_CHARACTERS_MAX = 67_108_864

/**
 * Openings and closings of strings, names and comments, in which a semicolon ends nothing. A doubled quote closes and
 * reopens.
 */
const closings: Record<string, string> = { "'": "'", '"': '"', '`': '`', '[': ']', '--': '\n', '/*': '*/' }

/** An unwanted statement of this length is skipped, and only its beginning is kept. */
const DECIDED_CHARACTERS = 4_194_304
const BEGINNING_CHARACTERS = 1_000

/** Splits a stream of SQL into statements, each with its semicolon. */
export class SqlStatements {
  readonly #isWanted: (statement: string) => boolean
  #text = ''
  #at = 0
  #closing: string | null = null

  /** `isWanted` decides by a statement's beginning. A long statement that is not wanted is reduced to its beginning. */
  constructor(isWanted: (statement: string) => boolean = () => true) {
    this.#isWanted = isWanted
  }

  /** The statements that end in this piece. */
  push(piece: string): string[] {
    this.#text += piece
    const whole = this.#cut()
    if (this.#text.length > DECIDED_CHARACTERS && !this.#isWanted(this.#text)) this.#passOver()
    if (this.#text.length > STATEMENT_CHARACTERS_MAX)
      throw new UserError(
        `A statement has more than ${STATEMENT_CHARACTERS_MAX / 1_048_576} million characters, the limit of an import.`,
        'Close the quote that is open in it, or export the table again with fewer rows per statement.',
      )
    return whole
  }

  /** Keeps only the statement's beginning. Drops comments before it, except an open one. */
  #passOver(): void {
    const statement = withoutBlanks(this.#text)
    const isComment = statement === '' && this.#closing !== null
    const beginning = isComment ? '--' : statement.slice(0, BEGINNING_CHARACTERS)
    if (statement !== '' && statement.length < BEGINNING_CHARACTERS) return // its kind may show later
    this.#text = beginning + this.#text.slice(this.#at)
    this.#at = beginning.length
  }

  /** The remaining text: a statement without its semicolon, or blanks and comments. */
  rest(): string {
    return this.#text
  }

  #cut(): string[] {
    const statements: string[] = []
    const next = /['"`[;]|--|\/\*/g
    let start = 0
    for (;;) {
      if (this.#closing !== null) {
        const end = this.#text.indexOf(this.#closing, this.#at)
        if (end < 0) {
          this.#at = Math.max(this.#at, this.#text.length - this.#closing.length + 1)
          break
        }
        this.#at = end + this.#closing.length
        this.#closing = null
        continue
      }
      next.lastIndex = this.#at
      const found = next.exec(this.#text)
      if (!found) {
        this.#at = Math.max(this.#at, this.#text.length - 1) // it may be the first half of a comment's beginning
        break
      }
      this.#at = next.lastIndex
      this.#closing = closings[found[0]] ?? null
      if (found[0] !== ';') continue
      const statement = this.#text.slice(start, this.#at)
      if (isWithinTrigger(statement)) continue
      statements.push(statement)
      start = this.#at
    }
    this.#text = this.#text.slice(start)
    this.#at = Math.max(0, this.#at - start)
    return statements
  }
}

const BLANKS = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/

/** The statement from its first word. */
export const withoutBlanks = (statement: string): string => statement.replace(BLANKS, '')

/** True inside a trigger, which contains statements and ends with END. */
function isWithinTrigger(statement: string): boolean {
  if (!/trigger/i.test(statement.slice(0, 1_000))) return false
  return /^create\s+(?:temp(?:orary)?\s+)?trigger\b/i.test(withoutBlanks(statement)) && !/;\s*end\s*;$/i.test(statement)
}

const NAME = String.raw`("(?:[^"]|"")*"|\`(?:[^\`]|\`\`)*\`|\[[^\]]*\]|'(?:[^']|'')*'|[^\s("'\`[]+)`
const TABLE = new RegExp(
  String.raw`^(?:(create)\s+table\s+(?:if\s+not\s+exists\s+)?|(?:insert(?:\s+or\s+\w+)?|replace)\s+into\s+)(?:(?:"main"|main)\s*\.\s*)?${NAME}`,
  'i',
)

/** The table that a statement creates or inserts into; null for any other statement. */
export function tableOf(statement: string): { table: string; makes: boolean } | null {
  const [, create, name] = TABLE.exec(withoutBlanks(statement)) ?? []
  return name === undefined ? null : { table: unquoted(name), makes: create !== undefined }
}

/** Returns the statement with `table` as the table that it creates or inserts into. */
export function retargeted(statement: string, table: string): string {
  const text = withoutBlanks(statement)
  const [beginning = '', , name = ''] = TABLE.exec(text) ?? []
  return beginning.slice(0, beginning.length - name.length) + quotedName(table) + text.slice(beginning.length)
}

function unquoted(name: string): string {
  const quote = name.charAt(0)
  if (quote === '[') return name.slice(1, -1)
  return quote === '"' || quote === '`' || quote === "'" ? name.slice(1, -1).replaceAll(quote + quote, quote) : name
}
