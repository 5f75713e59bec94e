import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { longest } from '../../support/longest.ts'

const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/operating/time-limits.md'), 'utf8')

/** The rows of its first table, by the formulas that they state. */
const stated = [...page.matchAll(/^\|[^|]+\| ([\d.]+) s +\| `([^`|]+)`/gm)].map(([, seconds, formula]) => ({
  seconds: Number(seconds),
  formula: formula!,
}))

test('the page on time limits states the limits of all kinds of invocations', () => {
  const kinds = Object.entries(longest).filter(([kind]) => kind !== 'health')
  expect(stated.map(({ seconds }) => seconds * 1_000)).toEqual(kinds.map(([, ms]) => ms()))
})

test.each(stated)('$formula is $seconds s', ({ formula, seconds }) => {
  const terms = formula.split(' + ').map((term) => {
    const [, times = '1', name] = /^(?:(\d) × )?(\w+)$/.exec(term) ?? []
    return Number(times) * (limits[name as keyof typeof limits] as number)
  })
  expect(terms.reduce((sum, term) => sum + term, 0)).toBe(seconds * 1_000)
})

test('work after a response ends before the platform stops it, 30 s after the response', () => {
  expect(longest.follow()).toBeLessThan(30_000)
})

test('a run of the cron ends before the next one starts', () => {
  expect(longest.cron()).toBeLessThan(60_000)
})

test('three reads with the waits between them fit a route’s budget', () => {
  const waits = limits.readRetriesMax * limits.routeBackoffCapMs
  const attempts = limits.readRetriesMax * limits.shardCallMs + waits
  expect(attempts).toBeLessThanOrEqual(limits.routeBudgetMs)
})
