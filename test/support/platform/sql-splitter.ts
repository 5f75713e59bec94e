/**
 * How D1's HTTP API splits a text into statements, according to reports. Its code is not public and the reports
 * disagree, so this one splits in every way that a report names. A text that it keeps whole is kept whole by all of
 * them. https://github.com/cloudflare/workers-sdk/issues: 4326 and 4727 (the END of a CASE outside of parentheses ends
 * the trigger), 10998 and 15314 (only an upper-case BEGIN opens one), 14991 (CRLF), 15690 (line ends also with LF).
 */
export function cutAsReported(sql: string): string[] {
  const statements: string[] = []
  let start = 0
  let depth = 0
  let isInTrigger = false
  const step = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|--[^\n]*|\/\*[\s\S]*?\*\/| BEGIN (?=\S)|\bEND\b|[\r\n();]/g
  for (const { 0: found, index } of sql.matchAll(step)) {
    if (found === '(') depth++
    else if (found === ')') depth--
    else if (found === '\n' || found === '\r') isInTrigger = false
    else if (depth === 0 && found === ' BEGIN ') isInTrigger = true
    else if (depth === 0 && found === 'END') isInTrigger = false
    else if (found === ';' && !isInTrigger) {
      statements.push(sql.slice(start, index))
      start = index + 1
    }
  }
  return [...statements, sql.slice(start)].map((statement) => statement.trim()).filter((statement) => statement !== '')
}
