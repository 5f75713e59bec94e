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

/**
 * The items of this turn, at most `size` of them. Consecutive turns cycle through all items, one window after another.
 * Each round starts a quarter further into every window. Therefore work that stops early in its windows still reaches
 * every item within four rounds.
 */
export function windowOf<T>(items: readonly T[], { turn, size }: { turn: number; size: number }): T[] {
  if (items.length === 0) return []
  const windows = Math.ceil(items.length / size)
  const startOf = (window: number) => Math.floor((window * items.length) / windows)
  const window = turn % windows
  const visited = items.slice(startOf(window), startOf(window + 1))
  const shift = (Math.floor(turn / windows) * Math.ceil(visited.length / 4)) % visited.length
  return [...visited.slice(shift), ...visited.slice(0, shift)]
}
