/** Visits each item, at most `atOnceMax` at a time. Throws what a visit throws. */
export async function eachAtMost<T>(
  atOnceMax: number,
  items: readonly T[],
  visit: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values()
  const worker = async () => {
    for (const item of waiting) await visit(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, worker))
}

/** The items whose turn it is, `size` of them at the most: consecutive turns go round all. */
export function inTurn<T>(items: readonly T[], { turn, size }: { turn: number; size: number }): T[] {
  const count = Math.min(size, items.length)
  return Array.from({ length: count }, (_, index) => items[(turn * count + index) % items.length]!)
}
