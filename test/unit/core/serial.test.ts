import { expect, test } from 'vitest'
import { Serial } from '../../../src/core/serial.ts'

test('runs one piece of work after another in the order of the calls, even after a failed one', async () => {
  const serial = new Serial()
  const trace: string[] = []
  const work = (name: string, fails = false) =>
    serial.run(async () => {
      trace.push(`${name} begins`)
      await new Promise((resolve) => setImmediate(resolve))
      trace.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    })
  expect(await Promise.allSettled([work('a'), work('b', true), work('c')])).toMatchObject([
    { value: 'a' },
    { reason: new Error('b') },
    { value: 'c' },
  ])
  expect(trace).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})
