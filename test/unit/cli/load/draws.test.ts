import { expect, test } from 'vitest'
import { ownerFor, seededRandom, zipfRank } from '../../../../src/cli/load/draws.ts'
import { Histogram } from '../../../../src/cli/load/histogram.ts'
import { RunTexts } from '../../../../src/cli/load/texts.ts'

test('a seed draws the same numbers again, evenly distributed', () => {
  const drawn = (seed: number) => Array.from({ length: 100_000 }, seededRandom(seed))
  expect(drawn(7)).toEqual(drawn(7))
  const tenths = Object.values(Object.groupBy(drawn(7), (number) => Math.floor(number * 10)))
  expect(tenths).toHaveLength(10)
  // ± 4 standard deviations of a binomial count: √(100,000 · 0.1 · 0.9) = 95.
  for (const tenth of tenths) expect(Math.abs(tenth!.length - 10_000)).toBeLessThan(380)
})

test('consecutive seeds give independent numbers', () => {
  const [one, other] = [seededRandom(1), seededRandom(2)]
  const agree = Array.from({ length: 10_000 }, () => one() < 0.5 === other() < 0.5).filter(Boolean).length
  expect(Math.abs(agree - 5_000)).toBeLessThan(200)
})

test.each([1, 2, 10, 1_000])('each of %i things is drawn as often as Zipf’s law says', (count) => {
  const draws = 200_000
  const random = seededRandom(count)
  const times = new Array<number>(count + 1).fill(0)
  for (let draw = 0; draw < draws; draw++) times[zipfRank(random, count)]!++
  expect(times[0]).toBe(0)
  expect(times).toHaveLength(count + 1)
  const weights = Array.from({ length: count }, (_, index) => 1 / (index + 1) ** 0.99)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  // Pearson's test: with n − 1 degrees of freedom, the mean is n − 1 and the standard deviation √(2(n − 1)).
  const chiSquare = weights.reduce((sum, weight, index) => {
    const expected = (draws * weight) / total
    return sum + (times[index + 1]! - expected) ** 2 / expected
  }, 0)
  expect(chiSquare).toBeLessThanOrEqual(count - 1 + 5 * Math.sqrt(2 * (count - 1)))
})

test('quantiles are accurate to 1 %, and the maximum is exact', () => {
  const random = seededRandom(3)
  const times = Array.from({ length: 20_000 }, () => 0.2 * 1_000_000 ** random())
  const histogram = new Histogram()
  for (const time of times) histogram.add(time)
  const sorted = times.toSorted((a, b) => a - b)
  for (const share of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = sorted[Math.ceil(share * sorted.length) - 1]!
    expect(Math.abs(histogram.quantile(share) / exact - 1), `of ${share}`).toBeLessThan(0.0101)
  }
  expect(histogram.maxMs).toBe(sorted.at(-1))
})

test('for few times, a quantile is the smallest time that covers the share', () => {
  const histogram = new Histogram()
  for (let ms = 1; ms <= 60; ms++) histogram.add(ms)
  const quantiles = [0.01, 0.5, 0.975, 0.99, 1].map((share) => Math.round(histogram.quantile(share)))
  expect(quantiles).toEqual([1, 30, 59, 60, 60])
})

test('a histogram accepts no times, zero, and a time beyond its range', () => {
  expect(new Histogram().quantile(0.99)).toBe(0)
  const histogram = new Histogram()
  histogram.add(0)
  expect(histogram.quantile(0.5)).toBe(0)
  histogram.add(3_600_000)
  expect(histogram).toMatchObject({ count: 2, maxMs: 3_600_000 })
  const both = new Histogram()
  both.addAll(histogram)
  both.addAll(histogram)
  expect(both).toMatchObject({ count: 4, maxMs: 3_600_000 })
})

test('a text contains its number, and any change of the text is noticed', () => {
  const run = new RunTexts('load_1a2b3c4d')
  const texts = Array.from({ length: 5_000 }, () => run.textOf(run.nextNumber()))
  expect(new Set(texts).size).toBe(texts.length)
  for (const [index, text] of texts.entries()) {
    expect(run.numberIn(text)).toBe(index + 1)
    expect([...text].length).toBeLessThanOrEqual(300)
  }
  const text = run.textOf(12)
  for (const other of [
    text.slice(0, -1),
    `${text} `,
    text.replace('#12', '#13'),
    text.toUpperCase(),
    '',
    null,
    undefined,
  ])
    expect(run.numberIn(other), String(other)).toBeNull()
  expect(new RunTexts('load_other').numberIn(text)).toBeNull()
})

test('a quarter of the draws choose the reader’s own things, in addition to those drawn from all', () => {
  const random = seededRandom(4)
  const people = ['ann', 'ben', 'cem', 'dee']
  const own = Array.from({ length: 10_000 }, () => ownerFor('ann', random, people)).filter((owner) => owner === 'ann')
  // A quarter, plus a fourth of the rest; ± 4 standard deviations.
  expect(Math.abs(own.length - 4_375)).toBeLessThan(4 * Math.sqrt(10_000 * 0.4375 * 0.5625))
  expect(ownerFor('ann', () => 0.9, [])).toBe('ann')
})
