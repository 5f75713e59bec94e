import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLog } from '../../../src/core/log.ts'

const lines: string[] = []
const log = createLog({ request: 'r1' }, (_, line) => lines.push(line))
const logged = (fields: Record<string, string>) => {
  log.warn('event', fields)
  return lines.at(-1)!
}
const TOKEN = `0a0b${'01jd0000000000000000000001'}.0a0b${'01jd0000000000000000000002'}.c2VjcmV0LXNlY3JldC1zZWNyZXQ_-A`

test('a line is one JSON object with its level, its event and the context', () => {
  expect(JSON.parse(logged({ code: 'X' }))).toEqual({ level: 'warn', event: 'event', request: 'r1', code: 'X' })
})

test.each([
  ['quoted', `no such user "ada@example.com"`],
  ['in brackets', `<ada@example.com>`],
  ['after a line break', `to\nada@example.com\tfailed`],
  ['in JSON in a text', JSON.stringify({ email: 'ada@example.com', next: 'x' })],
  ['before a backslash', 'ada@example.com\\'],
])('an e-mail address %s is redacted, and the line stays JSON', (_, text) => {
  const line = logged({ reason: text })
  expect(line).not.toContain('ada@example.com')
  expect((JSON.parse(line) as { reason: string }).reason).toContain('[e-mail]')
})

test('an e-mail address or a token never appears, wherever it is', () => {
  const around = fc.string({ unit: 'grapheme', maxLength: 12 })
  const secret = fc.oneof(fc.emailAddress(), fc.constant(TOKEN))
  fc.assert(
    fc.property(around, secret, around, (before, hidden, after) => {
      const line = logged({ reason: `${before} ${hidden} ${after}` })
      expect(line).not.toContain(hidden)
      expect(Object.keys(JSON.parse(line) as object)).toEqual(['level', 'event', 'request', 'reason'])
    }),
    { numRuns: 300 },
  )
})
