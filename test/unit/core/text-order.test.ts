import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareTexts, prefixEnd } from '../../../src/core/text-order.ts'

const sqlite = new DatabaseSync(':memory:')
const less = sqlite.prepare('SELECT ? < ? AS less')
const isLess = (one: string, other: string): boolean => less.get(one, other)!.less === 1

/** Characters at the edges of UTF-8's lengths and of the surrogates, and near them. */
const edges = [
  'a',
  'b',
  '\u007f',
  '\u0080',
  '\u07ff',
  '\u0800',
  '\ud7ff',
  '\ue000',
  '\uffff',
  '\u{10000}',
  '\u{10ffff}',
]
const text = fc.array(fc.oneof(fc.constantFrom(...edges), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })), {
  maxLength: 4,
})

test('texts sort as in SQLite, also characters beyond U+FFFF, which JavaScript sorts before U+E000', () => {
  fc.assert(
    fc.property(text, text, (left, right) => {
      const [one, other] = [left.join(''), right.join('')]
      expect(compareTexts(one, other) < 0).toBe(isLess(one, other))
      expect(compareTexts(other, one) > 0).toBe(isLess(one, other))
      expect(compareTexts(one, other) === 0).toBe(one === other)
    }),
    { numRuns: 2_000 },
  )
  expect('\u{1f600}' < '\uff21').toBe(true)
  expect(compareTexts('\u{1f600}', '\uff21')).toBeGreaterThan(0)
})

test('a text is in a prefix’s range exactly if it starts with the prefix', () => {
  fc.assert(
    fc.property(text, text, (left, right) => {
      const [prefix, other] = [left.join(''), right.join('')]
      const end = prefixEnd(prefix)
      for (const one of [other, prefix + other]) {
        const isWithin = !isLess(one, prefix) && (end === null || isLess(one, end))
        expect(isWithin, JSON.stringify([prefix, one, end])).toBe(one.startsWith(prefix))
      }
    }),
    { numRuns: 2_000 },
  )
})

test.each([
  ['a', 'b'],
  ['a\uffff', 'a\u{10000}'],
  ['\ud7ff', '\ue000'],
  ['a\u{10ffff}', 'b'],
  ['\u{10ffff}\u{10ffff}', null],
  ['', null],
])('the range of %j ends at %j', (prefix, end) => {
  expect(prefixEnd(prefix)).toBe(end)
})
