/** A number in [0, 1). */
export type Random = () => number

/** The same numbers for the same seed (mulberry32): for choosing, not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A whole number from 0 to `count` − 1. */
export const below = (random: Random, count: number): number => Math.floor(random() * count)

/** One of all; undefined if there is none. */
export const oneOf = <T>(random: Random, all: readonly T[]): T | undefined => all[below(random, all.length)]

const OWN = 0.25

/** Whose things somebody reads: mostly anybody's, and a quarter of the time the reader's own, which must be up to date. */
export const ownerFor = <T>(reader: T, random: Random, people: readonly T[]): T =>
  random() < OWN ? reader : (oneOf(random, people) ?? reader)

// YCSB's: of 1,000 things the first has 13 % of the reads, the first ten 38 %.
const EXPONENT = 0.99

/**
 * A rank from 1 to `count`, drawn by Zipf's law: the k-th with a probability proportional to 1 ÷ k^0.99. Needs no table,
 * so that `count` may grow between draws (rejection-inversion: Hörmann and Derflinger, 1996).
 */
export function zipfRank(random: Random, count: number): number {
  const first = integral(1.5) - 1
  const last = integral(count + 0.5)
  for (;;) {
    const drawn = last + random() * (first - last)
    const x = inverse(drawn)
    const rank = Math.min(count, Math.max(1, Math.round(x)))
    if (rank - x <= SQUEEZE || drawn >= integral(rank + 0.5) - rank ** -EXPONENT) return rank
  }
}

/** Of x^−EXPONENT, from 1. */
const integral = (x: number): number => (x ** (1 - EXPONENT) - 1) / (1 - EXPONENT)
const inverse = (y: number): number => (1 + y * (1 - EXPONENT)) ** (1 / (1 - EXPONENT))

// Whoever is this near to its rank is under the curve: no second look.
const SQUEEZE = 2 - inverse(integral(2.5) - 2 ** -EXPONENT)
