/// <reference types="vite/types/importMeta.d.ts" />
import { type Answer, type DescribedError, described } from './answers.ts'

/** One row of "Differences from D1" in docs/sharding.md: its id, and the `code` of the error where it is one. */
export interface Row {
  id: string
  code: string | null
}

const pages = import.meta.glob<string>('../../../docs/sharding.md', { query: '?raw', import: 'default', eager: true })

/** The rows of the table, as the page has them. */
export const listed: Row[] = rowsOf(Object.values(pages)[0]!)

function rowsOf(page: string): Row[] {
  const section = page.split(/^## /m).find((part) => part.startsWith('Differences from D1\n'))!
  const lines = section.split('\n').filter((line) => line.startsWith('| `'))
  return lines.map((line) => {
    const row = /^\| `([a-z-]+)` +\|.*\| (?:`([A-Z_]+)`|–) +\|$/.exec(line)
    if (!row) throw new Error(`docs/sharding.md has a row without an id or a code: ${line}`)
    return { id: row[1]!, code: row[2] ?? null }
  })
}

/** What a form may look at. */
export interface Asked {
  name: string
  /** The texts of its statements. */
  texts: string[]
  isBatch: boolean
  /** The only row that may speak of it, apart from those of errors that D1 gives, too. */
  differs?: string
}

/** What the routed database answers in place of D1's answer; null where the row says nothing of it. */
type Form = (plain: Answer, row: Row, question: Asked) => Answer | null

/** An error of Banyan's own: its text is matched, since D1 has none. */
const refusal = (row: Row, text: RegExp, cause: DescribedError | null = null): Answer => ({
  stage: 'answer',
  error: { class: 'BanyanError', code: row.code!, message: String(text), cause },
  text,
})

/** The same, with a cause that repeats the text after its prefix, as D1's own errors have one. */
const repeated = (row: Row, text: RegExp) => refusal(row, text, { class: 'Error', message: String(text), cause: null })

/** D1's error with a class and a code, where `matches` is true of it. */
const coded =
  (matches: (error: DescribedError) => boolean): Form =>
  (plain, { code }) => {
    if ('value' in plain) return null
    const error = codedError(plain.error, matches, code!)
    return error && { ...plain, error }
  }

/** The error, or the one below the error of a library, that is D1's. */
function codedError(
  error: DescribedError,
  matches: (error: DescribedError) => boolean,
  code: string,
): DescribedError | null {
  if (error.class === 'BanyanError') return null
  if (/^D1_[A-Z]+/.test(error.message)) return matches(error) ? { ...error, class: 'BanyanError', code } : null
  if (error.cause === null || typeof error.cause === 'string') return null
  const cause = codedError(error.cause, matches, code)
  return cause && { ...error, cause }
}

/** The text for what a question asks for by its name. */
const refusedAlways =
  (text: RegExp): Form =>
  (_, row, { differs }) =>
    differs === row.id ? refusal(row, text) : null

/** D1's request is JSON, which has no such numbers. */
const isUnsendable = ({ message }: DescribedError) => /parse body as JSON|serialize a BigInt/.test(message)

const isEmptyText = (sql: string) => /^(?:\s|--[^\n]*(?:\n|$))*$/.test(sql)

/** By the row's id, in the order in which they apply: each to the answer that the one before has left. */
const forms: Record<string, Form> = {
  exec: refusedAlways(/^exec\(\) .*Use prepare\(sql\)\.run\(\).*batch/s),
  dump: refusedAlways(/^dump\(\) .*wrangler d1 export/s),
  'foreign-statement': refusedAlways(/^A batch accepts only statements prepared on the same routed database/),
  'empty-in-batch': (plain, row, { isBatch, texts }) =>
    isBatch && 'value' in plain && texts.some(isEmptyText)
      ? repeated(row, /^D1_ERROR: No SQL statements detected\.$/)
      : null,
  'text-at-the-limit': (_, row, { differs }) =>
    differs === row.id ? repeated(row, /^D1_ERROR: statement too long: SQLITE_TOOBIG$/) : null,
  'changes-before-batch': (plain, row, { name, differs }) =>
    differs === row.id && 'value' in plain && name.startsWith('batch beside a write') ? zeroChanges(plain.value) : null,
  'lost-answer': (plain, row, { differs }) =>
    differs === row.id && 'error' in plain ? refusal(row, /may or may not|answer was lost/, plain.error) : null,
  'row-too-large': (plain, row) =>
    'error' in plain && /^D1_ERROR: ROW_TOO_LARGE:/.test(plain.error.message)
      ? refusal(row, /too large/, plain.error)
      : null,
  'unsendable-value': (plain, row) =>
    'error' in plain && plain.stage !== 'bind' && isUnsendable(plain.error)
      ? { ...repeated(row, /^D1_TYPE_ERROR: Type 'object' not supported for value/), stage: 'bind' }
      : null,
  'bound-array': (plain, row, { differs }) => (differs === row.id && 'value' in plain ? copiedOf(plain.value) : null),
  'session-bookmark': (plain, row, { differs }) =>
    differs === row.id && 'value' in plain ? { value: withShard(plain.value) } : null,
  'unknown-table': coded(({ message }) => /no such table/.test(message)),
  'constraint-error': coded(({ message }) => /SQLITE_CONSTRAINT/.test(message)),
  'statement-error': coded(() => true),
}

/** What D1 says of a buffer, where that is not what it says of an array. */
function copiedOf(value: unknown): Answer | null {
  const { own, copied } = value as Record<'own' | 'copied', unknown>
  return described(own) === described(copied) ? null : { value: copied }
}

/** The first answer is that of `SELECT changes() AS c`. */
function zeroChanges(value: unknown): Answer {
  const [first, ...others] = value as D1Result<{ c: number }>[]
  return { value: [{ ...first, results: first!.results.map((row) => ({ ...row, c: 0 })) }, ...others] }
}

/** Bookmarks in any depth; the question marks them. */
const withShard = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withShard)
  return typeof value === 'string' ? value.replace(/^bookmark/, 'shard-000:bookmark') : value
}

/** Rows whose form has held of an answer. */
export const exercised = new Set<string>()

/** What the routed database must answer where D1 answers `plain`: the same, but for the listed differences. */
export function expectedOf(plain: Answer, question: Asked): Answer {
  let answer = plain
  for (const [id, form] of Object.entries(forms)) {
    const row = listed.find((one) => one.id === id)
    const changed = row && form(answer, row, question)
    if (!changed) continue
    if ('value' in changed && !('value' in answer)) throw new Error(`${id} gives data in place of an error`)
    exercised.add(id)
    answer = changed
  }
  return answer
}

export const knownIds = Object.keys(forms)
