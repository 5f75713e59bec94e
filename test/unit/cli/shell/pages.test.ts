import { expect, test } from 'vitest'
import { pagesOf } from '../../../../src/cli/shell/pages.ts'

const next: Record<string, string | null> = { first: 'b', b: 'c', c: null }

function asking() {
  const asked: (string | null)[] = []
  const pages = pagesOf(async (after) => {
    asked.push(after)
    return { items: [after], next: next[after ?? 'first']! }
  })
  return { asked, pages }
}

test('each page names the next one, and the last page names none', async () => {
  const { asked, pages } = asking()
  const seen: (string | null)[] = []
  for await (const { items } of pages) seen.push(...items)
  expect(seen).toEqual([null, 'b', 'c'])
  expect(asked).toEqual([null, 'b', 'c'])
})

test('a caller that stops early causes no further request', async () => {
  const { asked, pages } = asking()
  for await (const { items } of pages) if (items.includes('b')) break
  expect(asked).toEqual([null, 'b'])
})
