import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Memory } from '../../src/cache/memory.ts'
import { limits } from '../../src/core/limits.ts'
import { seededRandom } from '../support/sharding-doubles.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const { fraction } = seededRandom(1)
const letters = (count: number) => String.fromCharCode(97 + 26 * fraction()).repeat(count)

function post(index: number) {
  const id = `00aa01jd${index}`.padEnd(30, 'x')
  const author = { authorId: id, handle: `handle_${index}`, displayName: `Name ${index}`, authorVersion: index }
  return { id, text: letters(1 + 500 * fraction()), createdAt: index, editedAt: null, version: index, ...author }
}

/** What the application keeps, and texts of any size. */
const kinds: Record<string, (index: number) => unknown> = {
  'posts of up to 500 characters': post,
  'lists of 20 posts': (index) => ({ items: Array.from({ length: 20 }, (_, place) => post(20 * index + place)) }),
  'texts of 1 B to 1 MB': () => letters(10 ** (6 * fraction())),
  'texts of 1 B to 1 MB, not Latin-1': () => `→${letters(10 ** (6 * fraction()))}`,
  'small numbers': (index) => index % 10,
  'negative entries': () => null,
}

test.each(Object.entries(kinds))('a full memory of %s takes no more heap than it counts', (kind, make) => {
  collect()
  const before = process.memoryUsage().heapUsed
  const memory = new Memory(limits.cacheMemoryBytesMax, () => undefined)
  let kept = 0
  while (memory.size === kept || kept < 1_000) {
    // From JSON, as a value comes from a database or from KV.
    const value = JSON.parse(JSON.stringify(make(kept))) as unknown
    const entry = { value, version: kept, at: kept }
    memory.keep(`post.1:${kept++}`, { entry, freshUntil: 0, keptAt: 0, checkedAt: 0, reads: 0, isCopied: false })
  }
  collect()
  const heap = process.memoryUsage().heapUsed - before
  console.log(`${kind}: ${memory.size} entries, ${memory.bytes} bytes counted, ${heap} bytes of heap`)
  expect(memory.bytes).toBeLessThanOrEqual(limits.cacheMemoryBytesMax)
  expect(heap).toBeLessThanOrEqual(1.05 * memory.bytes)
})
