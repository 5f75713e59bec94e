import { expect, test } from 'vitest'
import { Progress } from '../../../../src/cli/import/progress.ts'

function stand(isTTY: boolean) {
  const written: string[] = []
  let now = 0
  const screen = { isTTY, columns: 60, write: (text: string) => written.push(text) }
  const progress = new Progress(screen, { now: () => now, sleep: async () => undefined })
  const after = (ms: number) => {
    now += ms
  }
  return { progress, written, after }
}

test('without a terminal there is a line every 5 s, and one at the end', () => {
  const { progress, written, after } = stand(false)
  for (let done = 0; done <= 10; done++) {
    progress.show(`importing: ${done} of 10`, done / 10)
    after(1_000)
  }
  progress.say('Done.')
  expect(written).toEqual([
    '  0%  importing: 0 of 10\n',
    ' 50%  importing: 5 of 10\n',
    '100%  importing: 10 of 10\n',
    'Done.\n',
  ])
})

test('on a terminal there is a bar, redrawn in place and never wrapped, with messages above it', () => {
  const { progress, written, after } = stand(true)
  progress.show('importing: a rather long line that would not fit', 0.5)
  after(200)
  progress.say('The server answers again.')
  progress.show('importing', 1)
  const bar = `${'█'.repeat(12)}${'░'.repeat(12)}  50%  importing: a rather long line`
  expect(written[0]).toBe(`${bar.slice(0, 59)}\n`)
  expect(written.slice(1)).toEqual([
    '\u001b[1A\u001b[0J',
    'The server answers again.\n',
    `${'█'.repeat(24)} 100%  importing\n`,
  ])
})
