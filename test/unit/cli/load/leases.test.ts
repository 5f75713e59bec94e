import { expect, test } from 'vitest'
import { openMoves, untilLeasesEnd } from '../../../../src/cli/load/leases.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import type { Move } from '../../../../src/console/shapes.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

type States = Record<string, Move['state']>

/** The seconds of waiting if the moves have these states at each second after the last write. */
async function waited(statesAt: (second: number) => States) {
  const time = new VirtualTime()
  const hasSettled = new Set<string>()
  const findMoves = async () =>
    Object.entries(statesAt(time.now() / 1_000)).map(([id, state]) => {
      if (state === 'settling' || state === 'purging') hasSettled.add(id)
      return { id, state, settlesAt: hasSettled.has(id) ? '2026-11-24T13:42:35.000Z' : null }
    })
  const movesToCome = await time.until(
    untilLeasesEnd({ writtenAt: 0, clock: time, findMoves, onProgress: () => undefined }),
  )
  return { seconds: Math.round(time.now() / 1_000), movesToCome }
}

test('there is no wait if no move has changed the map recently', async () => {
  expect(await waited(() => ({}))).toEqual({ seconds: 0, movesToCome: 0 })
  expect(await waited(() => ({ one: 'purging', two: 'copying' }))).toEqual({ seconds: 0, movesToCome: 1 })
})

test('the wait for a settling move ends when its source may delete its rows, or after a lease', async () => {
  expect((await waited((second) => ({ one: second < 5 ? 'settling' : 'purging' }))).seconds).toBe(5)
  expect((await waited(() => ({ one: 'settling' }))).seconds).toBe(41)
})

test('each change of the map restarts the wait, whether by another move or by a reverse', async () => {
  const another = (second: number): States => (second < 20 ? { one: 'settling' } : { one: 'settling', two: 'settling' })
  expect((await waited(another)).seconds).toBe(61)
  const reversed = (second: number): States => ({ one: second >= 20 && second < 25 ? 'catching-up' : 'settling' })
  expect((await waited(reversed)).seconds).toBe(66)
  // During a reverse, the shard that gets the slots back still has older rows.
  const isOnItsWay = (second: number): States => ({ one: second < 1 ? 'settling' : 'copying' })
  expect(await waited(isOnItsWay)).toEqual({ seconds: 42, movesToCome: 1 })
  expect((await waited((second) => ({ one: second < 10 ? 'cutover' : 'settling' }))).seconds).toBe(51)
})

test('with endless moves, the wait ends after five minutes', async () => {
  const { seconds } = await waited((second) => ({ [`move ${Math.floor(second / 10)}`]: 'settling' }))
  expect(seconds).toBe(300)
})

test('open moves are found on later pages, but not after a page without open moves', async () => {
  const pages: [string[], string | null][] = [
    [['planned', 'done'], 'a/b'],
    [['settling', 'aborted'], 'c'],
    [['done', 'failed'], 'd'],
  ]
  const asked: string[] = []
  const connection = {
    async get(path: string) {
      const [states, next] = pages[asked.push(path) - 1]!
      return { items: states.map((state, index) => ({ id: `${asked.length}-${index}`, state })), next }
    },
  } as unknown as Connection
  expect((await openMoves(() => connection)()).map(({ state }) => state)).toEqual(['planned', 'settling'])
  expect(asked.map((path) => new URL(path, 'http://a').searchParams.get('cursor'))).toEqual([null, 'a/b', 'c'])
})
