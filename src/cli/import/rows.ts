import type { Importer, ImportRecord, RecordRules, Refusal, SourceRow } from './noun.ts'
import { oddityOf } from './odd-text.ts'

/**
 * The record of a row, or why it can't be imported. Invalid text is refused or omitted here, so the rules see valid
 * text.
 */
export function readRow<R extends ImportRecord>(
  fields: Importer['fields'],
  rules: RecordRules<R>,
  row: SourceRow,
  now: number,
): R | Refusal {
  const left: Record<string, null> = {}
  for (const [field, { code }] of Object.entries(fields)) {
    const oddity = oddityOf(row[field] ?? '')
    if (oddity && code) return { code, detail: `${field}: ${oddity}` }
    if (oddity) left[field] = null
  }
  return rules.readRow({ ...row, ...left }, now)
}

/** True for a refusal. No record has a field called `code`. */
export const isRefusal = (read: ImportRecord | Refusal): read is Refusal => 'code' in read
