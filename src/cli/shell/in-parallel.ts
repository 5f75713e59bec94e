import { eachAtMost } from '../../core/bounded.ts'

/** As many connections as a Worker may have at once, and well within the API's 1,200 calls in five minutes. */
export const AT_ONCE_MAX = 6

/**
 * Runs `work` on each, a few at a time; the results are in the order of the items. After a failure nothing new is
 * begun, what was begun is waited for, and the first failure is thrown.
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
