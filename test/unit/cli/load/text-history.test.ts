import { expect, test } from 'vitest'
import type { Ended } from '../../../../src/cli/load/client.ts'
import { TextHistory } from '../../../../src/cli/load/text-history.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

const time = new VirtualTime()

const ended = (outcome: Ended['outcome'], wasUncertain = false): Ended => ({
  ...{ outcome, wasUncertain, status: 0, body: '', reason: '', tries: 1, isGone: false },
})

/** Sends writes 1, 2, … one after the other, with these outcomes. */
async function written(...ends: Ended[]): Promise<TextHistory> {
  const history = new TextHistory(time)
  for (const [index, end] of ends.entries()) await history.write(index + 1, async () => end)
  return history
}

const allowed = (history: TextHistory, floor?: number) =>
  [null, 1, 2, 3, 4].filter((number) => history.allows(number, floor))

test('before a write is acknowledged, a reader may find nothing', async () => {
  expect(allowed(new TextHistory(time))).toEqual([null])
  expect(allowed(await written(ended('refused'), ended('unknown')))).toEqual([null, 2])
})

test('a reader may find the last acknowledged text, or a later one that was not refused', async () => {
  const history = await written(ended('acknowledged'), ended('acknowledged'), ended('refused'), ended('unknown'))
  expect(allowed(history)).toEqual([2, 4])
  expect(history.acknowledged).toBe(2)
})

test('a reader may find a write while it is being sent', async () => {
  const history = await written(ended('acknowledged'))
  await history.write(2, async () => {
    expect(allowed(history)).toEqual([1, 2])
    return ended('acknowledged')
  })
  expect(allowed(history)).toEqual([2])
})

test('a reader may find the text that was acknowledged when the read started', async () => {
  const history = await written(ended('acknowledged'))
  const { floor } = history
  await history.write(2, async () => ended('acknowledged'))
  expect(allowed(history, floor)).toEqual([1, 2])
  expect(allowed(history)).toEqual([2])
})

test('any text that was sent and not refused is known', async () => {
  const history = await written(ended('acknowledged'), ended('refused'), ended('acknowledged'))
  expect([1, 2, 3, 4].filter((number) => history.knows(number))).toEqual([1, 3])
})

test('after a lost attempt, a refusal leaves the outcome of the write unknown', async () => {
  expect(allowed(await written(ended('acknowledged'), ended('refused', true)))).toEqual([1, 2])
})

test('after an uncertain attempt the text rests for 40 s, because the lost attempt may still take effect', async () => {
  expect((await written(ended('refused'))).rests).toBe(false)
  for (const outcome of ['acknowledged', 'unknown'] as const) {
    const history = await written(ended(outcome, true))
    expect(history.rests).toBe(true)
    await time.until(time.sleep(39_999))
    expect(history.rests).toBe(true)
    await time.until(time.sleep(1))
    expect(history.rests).toBe(false)
  }
})
