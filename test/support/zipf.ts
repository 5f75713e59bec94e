import type { Random } from '../../src/core/random.ts'

/** Ranks from 0, each drawn with a probability that is proportional to 1 ÷ (rank + 1). */
export function zipfRanks(ranks: number, draws: number, random: Random): number[] {
  const sums = new Float64Array(ranks)
  let sum = 0
  for (let rank = 0; rank < ranks; rank++) {
    sum += 1 / (rank + 1)
    sums[rank] = sum
  }
  return Array.from({ length: draws }, () => firstAbove(sums, random.fraction() * sum))
}

function firstAbove(sums: Float64Array, point: number): number {
  let [low, high] = [0, sums.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (sums[middle]! > point) high = middle
    else low = middle + 1
  }
  return low
}
