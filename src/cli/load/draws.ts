/** A number in [0, 1). */
export type Random = () => number

/** A generator (mulberry32) with the same numbers for the same seed. Not for secrets. */
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

/** A random item; undefined if there is none. */
export const oneOf = <T>(random: Random, all: readonly T[]): T | undefined => all[below(random, all.length)]

const OWN = 0.25

/**
 * The owner of the thing to read: the reader in a quarter of the draws (own reads must be current), otherwise anyone.
 */
export const ownerFor = <T>(reader: T, random: Random, people: readonly T[]): T =>
  random() < OWN ? reader : (oneOf(random, people) ?? reader)

// YCSB's exponent: of 1,000 things, the first gets 13 % of the reads and the first ten get 38 %.
const EXPONENT = 0.99

/**
 * Draws a rank from 1 to `count` by Zipf's law: rank k with a probability proportional to 1 ÷ k^0.99. It needs no
 * table, so `count` may grow between draws (rejection-inversion: Hörmann and Derflinger, 1996).
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

/** The integral of x^−EXPONENT from 1. */
const integral = (x: number): number => (x ** (1 - EXPONENT) - 1) / (1 - EXPONENT)
const inverse = (y: number): number => (1 + y * (1 - EXPONENT)) ** (1 / (1 - EXPONENT))

// A value this close to its rank is under the curve, so it needs no second check.
const SQUEEZE = 2 - inverse(integral(2.5) - 2 ** -EXPONENT)
