import { eachAtMost } from '../../core/bounded.ts'

/** A Worker's limit of simultaneous connections. It also stays well below the API's 1,200 calls in five minutes. */
export const AT_ONCE_MAX = 6

/**
 * Runs `work` on each item, a few at a time. Results are in the order of the items. After a failure it starts no more
 * work, waits for the work that has started, and throws the first failure.
 */
export async function inParallel<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const failures: unknown[] = []
  await eachAtMost(AT_ONCE_MAX, [...items.entries()], async ([index, item]) => {
    if (failures.length > 0) return
    try {
      results[index] = await work(item)
    } catch (error) {
      failures.push(error)
    }
  })
  if (failures.length > 0) throw failures[0]
  return results
}
