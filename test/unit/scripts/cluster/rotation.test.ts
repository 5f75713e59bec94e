import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { HealthChecks } from '../../../../scripts/cluster/health-checks.ts'
import { Rotation } from '../../../../scripts/cluster/rotation.ts'

let changes: string[]
let rotation: Rotation

beforeEach(() => {
  changes = []
  rotation = rotationOf('a', 'b', 'c')
})

/** These servers, in the rotation, with 3 failures to leave it and 2 passed checks to enter it. */
function rotationOf(...names: string[]): Rotation {
  const made = new Rotation({ fall: 3, rise: 2 }, (name, change) => changes.push(`${name} ${change}`))
  for (const name of names) {
    made.add(name)
    made.checkPassed(name)
    made.checkPassed(name)
  }
  changes = []
  return made
}

const turns = (count: number) => Array.from({ length: count }, () => rotation.next()).join('')
const times = (count: number, run: () => void) => Array.from({ length: count }, run)

test('the servers take turns', () => {
  expect(turns(7)).toBe('abcabca')
})

test('a new server gets no request until it has passed its checks, and then its share', () => {
  rotation.add('d')
  rotation.checkPassed('d')
  expect(turns(3)).toBe('abc')
  rotation.checkFailed('d')
  rotation.checkPassed('d')
  expect(turns(3)).toBe('abc')
  rotation.checkPassed('d')
  expect(changes).toEqual(['d joined'])
  expect(turns(8)).toBe('dabcdabc')
})

test('the third failed check in a row takes a server out, and the others share its requests evenly', () => {
  times(2, () => rotation.checkFailed('b'))
  rotation.checkPassed('b')
  times(2, () => rotation.checkFailed('b'))
  expect(changes).toEqual([])
  rotation.checkFailed('b')
  expect(changes).toEqual(['b out'])
  expect(turns(6)).toBe('acacac')
})

test('the third failed request in a row takes a server out', () => {
  times(2, () => rotation.requestFailed('b'))
  rotation.requestAnswered('b')
  times(2, () => rotation.requestFailed('b'))
  // A server may answer its checks although it fails requests.
  rotation.checkPassed('b')
  expect(changes).toEqual([])
  rotation.requestFailed('b')
  expect(changes).toEqual(['b out'])
})

test('a server that answers requests but no checks is taken out', () => {
  times(3, () => {
    rotation.requestAnswered('b')
    rotation.checkFailed('b')
  })
  expect(changes).toEqual(['b out'])
})

test('only checks bring a server back, two in a row, and it gets no burst of requests', () => {
  times(3, () => rotation.checkFailed('b'))
  expect(turns(4)).toBe('acac')
  rotation.requestAnswered('b')
  rotation.checkPassed('b')
  rotation.checkFailed('b')
  rotation.checkPassed('b')
  expect(changes).toEqual(['b out'])
  rotation.checkPassed('b')
  expect(changes).toEqual(['b out', 'b back'])
  expect(turns(6)).toBe('bacbac')
})

test('late failures of a server that is out count neither as changes nor after its return', () => {
  times(3, () => rotation.checkFailed('b'))
  times(2, () => rotation.requestFailed('b'))
  times(2, () => rotation.checkPassed('b'))
  expect(changes).toEqual(['b out', 'b back'])
  rotation.requestFailed('b')
  rotation.requestFailed('b')
  expect(changes).toEqual(['b out', 'b back'])
})

test('before the first server has joined, all of them take turns', () => {
  const empty = new Rotation({ fall: 3, rise: 2 }, () => undefined)
  expect(empty.next()).toBeNull()
  for (const name of ['a', 'b']) empty.add(name)
  expect([empty.next(), empty.next(), empty.next()]).toEqual(['a', 'b', 'a'])
})

test('if all servers fail their checks at once, none leaves until another is well again', () => {
  times(3, () => {
    for (const name of ['a', 'b', 'c']) rotation.checkFailed(name)
  })
  rotation.checkFailed('b')
  expect(changes).toEqual([])
  expect(turns(3)).toBe('abc')
  rotation.checkPassed('c')
  rotation.checkFailed('a')
  rotation.checkFailed('b')
  expect(changes).toEqual(['a out', 'b out'])
  expect(turns(3)).toBe('ccc')
  // The last one stays, because there is nobody to take its requests.
  times(3, () => rotation.requestFailed('c'))
  times(3, () => rotation.checkFailed('c'))
  expect(changes).toEqual(['a out', 'b out'])
  times(2, () => rotation.checkPassed('a'))
  rotation.checkFailed('c')
  expect(changes).toEqual(['a out', 'b out', 'a back', 'c out'])
})

test('a retry goes to another server; a single server has no other', () => {
  expect(rotation.next()).toBe('a')
  expect(rotation.next('b')).toBe('c')
  expect(rotationOf('only').next('only')).toBeNull()
})

test('1,200 requests while servers leave, join and return: each share is exact while nothing changes', () => {
  const shares = (count: number) => {
    const chosen = Map.groupBy(
      Array.from({ length: count }, () => rotation.next()!),
      (name) => name,
    )
    return Object.fromEntries([...chosen].map(([name, all]) => [name, all.length]))
  }
  expect(shares(300)).toEqual({ a: 100, b: 100, c: 100 })
  times(3, () => rotation.requestFailed('b'))
  expect(shares(300)).toEqual({ a: 150, c: 150 })
  rotation.add('d')
  times(2, () => rotation.checkPassed('d'))
  expect(shares(300)).toEqual({ a: 100, c: 100, d: 100 })
  times(2, () => rotation.checkPassed('b'))
  expect(shares(300)).toEqual({ a: 75, b: 75, c: 75, d: 75 })
})

// ── With the checks, and a controlled clock ──

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

const NEVER_MS = 2 ** 31 - 1

/** Servers that answer a check after `delays[name]` ms, and are checked every 500 ms with a limit of 1,500 ms. */
function checked(delays: Record<string, number>): HealthChecks {
  const checks = new HealthChecks({
    everyMs: 500,
    limitMs: 1_500,
    check: (name) => new Promise((resolve) => setTimeout(() => resolve(true), delays[name])),
    onResult: (name, hasPassed) => (hasPassed ? rotation.checkPassed(name) : rotation.checkFailed(name)),
  })
  for (const name of Object.keys(delays)) checks.watch(name)
  return checks
}

test('a server that stops answering leaves after three limits and two pauses, and returns after two checks', async () => {
  const delays = { a: 10, b: NEVER_MS }
  const checks = checked(delays)
  await vi.advanceTimersByTimeAsync(3 * 1_500 + 2 * 500 - 1)
  expect(changes).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(changes).toEqual(['b out'])
  delays.b = 10
  await vi.advanceTimersByTimeAsync(500 + 10 + 500 + 10 - 1)
  expect(changes).toEqual(['b out'])
  await vi.advanceTimersByTimeAsync(1)
  expect(changes).toEqual(['b out', 'b back'])
  checks.stop()
})

test('a slow server stays in while it answers within the limit', async () => {
  const checks = checked({ a: 1_499 })
  await vi.advanceTimersByTimeAsync(60_000)
  expect(changes).toEqual([])
  checks.stop()
})

test('stopped checks are neither repeated nor counted', async () => {
  const checks = checked({ a: NEVER_MS, b: 10 })
  await vi.advanceTimersByTimeAsync(3 * 1_500 + 2 * 500 - 1)
  checks.stop()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(changes).toEqual([])
})
