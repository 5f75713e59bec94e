import { present } from './present.ts'

/** The pairs of two lists. Throws unless they have the same length. */
export function zip<A, B>(items: readonly A[], others: readonly B[]): [A, NonNullable<B>][] {
  if (items.length !== others.length)
    throw new Error(`Expected ${items.length} others, and there are ${others.length}.`)
  return items.map((item, place) => [item, present(others[place], 'one for each item')])
}
