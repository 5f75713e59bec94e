/// <reference types="vite/types/importMeta.d.ts" />
import type { Answer, DescribedError } from './answers.ts'

/** One row of "Differences from D1" in docs/sharding.md: its id, and the `code` of the error where it is one. */
interface Row {
  id: string
  code: string | null
}

const pages = import.meta.glob<string>('../../../docs/sharding.md', { query: '?raw', import: 'default', eager: true })

/** The rows of the table, as the page has them. */
export const listed: Row[] = rowsOf(Object.values(pages)[0]!)

function rowsOf(text: string): Row[] {
  const section = text.split(/^## /m).find((part) => part.startsWith('Differences from D1\n')) ?? ''
  return [...section.matchAll(/^\| `([a-z-]+)` +\|(.*)\|$/gm)].map(([, id, cells]) => ({
    id: id!,
    code: /`([A-Z_]+)`/.exec(cells!.split('|').at(-1)!)?.[1] ?? null,
  }))
}

/** What the routed database answers in place of D1's answer, by the row's id; null where the row says nothing of it. */
export type Forms = Record<string, (plain: Answer, row: Row, question: Asked) => Answer | null>

/** What a form may look at: the name of the question and the texts of its statements. */
export interface Asked {
  name: string
  texts: string[]
  isBatch: boolean
}

const withCode = (plain: Answer, matches: (error: DescribedError) => boolean, { code }: Row): Answer | null => {
  if ('value' in plain) return null
  const error = coded(plain.error, matches, code!)
  return error && { stage: plain.stage, error }
}

/** The error, or the cause below the error of a library, that D1 gave: with a class and a code, and D1's own text and cause. */
function coded(
  error: DescribedError,
  matches: (error: DescribedError) => boolean,
  code: string,
): DescribedError | null {
  if (error.class === 'BanyanError') return null
  if (/^D1_[A-Z]+/.test(error.message)) return matches(error) ? { ...error, class: 'BanyanError', code } : null
  if (error.cause === null || typeof error.cause === 'string') return null
  const cause = coded(error.cause, matches, code)
  return cause && { ...error, cause }
}

const isUnknownTable = ({ message }: DescribedError) => /no such table/.test(message)
const isRaised = ({ message }: DescribedError) => /SQLITE_CONSTRAINT_TRIGGER/.test(message)
const isConstraint = ({ message }: DescribedError) => /SQLITE_CONSTRAINT/.test(message)

/** Applied in this order, each to the answer that the one before has left. */
export const forms: Forms = {
  'unknown-table': (plain, row) => withCode(plain, isUnknownTable, row),
  'constraint-error': (plain, row) => withCode(plain, (error) => isConstraint(error) && !isRaised(error), row),
  'statement-error': (plain, row) => withCode(plain, () => true, row),
}

export const exercised = new Set<string>()

/** What the routed database must answer where D1 answers `plain`: the same, but for the listed differences. */
export function expectedOf(plain: Answer, question: Asked): Answer {
  let answer = plain
  for (const [id, form] of Object.entries(forms)) {
    const row = listed.find((one) => one.id === id)
    const changed = row && form(answer, row, question)
    if (!changed) continue
    exercised.add(id)
    answer = changed
  }
  return answer
}
