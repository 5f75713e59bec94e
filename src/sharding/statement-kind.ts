/**
 * True when a statement is plainly a read: it starts with SELECT, or it is a WITH that names no writing keyword. All
 * else gets the guard, so a wrong answer here costs a read two statements, and never costs a write its guard.
 */
export function isPlainlyRead(sql: string): boolean {
  const text = sql.replace(/^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/, '')
  if (/;\s*\S/.test(text)) return false
  if (/^select\b/i.test(text)) return true
  return /^with\b/i.test(text) && !/\b(insert|update|delete|replace)\b/i.test(text)
}

/** True for a text without a statement in it: blanks, comments and semicolons only. */
export const isEmpty = (sql: string): boolean =>
  sql.replace(/^(?:[\s;]+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/, '') === ''
