import { expect, test } from 'vitest'
import { nextLookMs } from '../../../src/resharding/capture-watch.ts'

test.each([
  [0, 60_000],
  [139_999, 60_000],
  [150_000, 50_000], // at 1,000 writes per second, the log is full then
  [199_900, 1_000],
  [200_000, 1_000],
])('with %i captured changes, the next check comes after %i ms', (captured, ms) => {
  expect(nextLookMs(captured)).toBe(ms)
})
