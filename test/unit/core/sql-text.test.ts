import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { chainOf, jsonArrayOf, quotedName, textLiteral } from '../../../src/core/sql-text.ts'

const sqlite = new DatabaseSync(':memory:')
// In Node since 24; its types here are older.
Object.assign((sqlite as unknown as { limits: object }).limits, { functionArg: 32, exprDepth: 100 })
const evaluate = (expression: string) =>
  (sqlite.prepare(`SELECT ${expression} AS value`).get() as { value: unknown }).value

test.each([1, 2, 31, 32, 33, 64, 65, 100])(
  'an array of %i values is the same JSON as SQLite’s own, within 32 arguments',
  (count) => {
    const values = Array.from(
      { length: count },
      (_, index) => ['NULL', String(index), `'[${index}]'`, `'"]'`, '-1'][index % 5]!,
    )
    const whole = new DatabaseSync(':memory:').prepare(`SELECT json_array(${values.join()}) AS value`).get()
    expect(evaluate(jsonArrayOf(values))).toBe((whole as { value: string }).value)
  },
)

test('an array of no values is empty', () => {
  expect(evaluate(jsonArrayOf([]))).toBe('[]')
})

test.each([1, 32, 33, 100, 1_000])('a chain of %i terms is no deeper than D1 allows', (count) => {
  const terms = Array.from({ length: count }, (_, index) => String(index))
  expect(evaluate(chainOf(terms, '+'))).toBe((count * (count - 1)) / 2)
  expect(evaluate(chainOf(terms.fill('1'), 'AND'))).toBe(1)
  expect(evaluate(chainOf(terms.fill('0'), 'OR'))).toBe(0)
})

test('up to 10 terms are one chain, and up to 32 values one array', () => {
  const terms = Array.from({ length: 32 }, (_, index) => `c${index}`)
  expect(chainOf(terms.slice(0, 10), '+')).toBe(terms.slice(0, 10).join(' + '))
  expect(jsonArrayOf(terms)).toBe(`json_array(${terms.join(', ')})`)
})

test('a hundred terms are no deeper than 21', () => {
  const shallow = new DatabaseSync(':memory:')
  Object.assign((shallow as unknown as { limits: object }).limits, { exprDepth: 21 })
  const terms = Array.from({ length: 100 }, () => '1')
  expect(shallow.prepare(`SELECT ${chainOf(terms, '+')} AS sum`).get()).toEqual({ sum: 100 })
})

test('names and texts keep their exact value', () => {
  const strange = `a"b'c`
  expect(
    evaluate(`(SELECT ${quotedName(strange)} FROM (SELECT ${textLiteral(strange)} AS ${quotedName(strange)}))`),
  ).toBe(strange)
})
