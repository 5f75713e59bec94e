import { expect, test } from 'vitest'
import { type KvCall, UnkindKv } from '../../support/kv-double.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'

const SECOND = 1_000

function setUp() {
  const clock = new ManualClock()
  const kv = new UnkindKv(clock)
  return { clock, kv }
}

const rejection = (work: Promise<unknown>) =>
  work.then(
    () => 'no rejection',
    (error: Error) => error.message,
  )

test('each location sees a write and a deletion after its own delay', async () => {
  const { clock, kv } = setUp()
  const near = kv.location('near', { visibleAfterMs: 0 }).binding
  const far = kv.location('far', { visibleAfterMs: 45 * SECOND }).binding
  const seen = async () => [await near.get('a'), await far.get('a')]

  await near.put('a', 'one')
  expect(await seen()).toEqual(['one', null])
  clock.advance(60 * SECOND)
  expect(await seen()).toEqual(['one', 'one'])
  await near.delete('a')
  clock.advance(60 * SECOND)
  expect(await seen()).toEqual([null, null])
})

test('a location serves what it has read for 60 s, and a miss too; a reader may ask for 30 s', async () => {
  const { clock, kv } = setUp()
  const at = kv.location('a', { visibleAfterMs: 0 }).binding
  expect(await at.get('a')).toBeNull()
  expect(await at.get('b', { cacheTtl: 30 })).toBeNull()
  await at.put('a', 'one')
  await at.put('b', 'one')
  clock.advance(30 * SECOND)
  expect([await at.get('a'), await at.get('b')]).toEqual([null, 'one'])
  clock.advance(30 * SECOND - 1)
  expect(await at.get('a')).toBeNull()
  clock.advance(1)
  expect(await at.get('a')).toBe('one')
  await at.put('a', 'two')
  expect(await at.get('a'), 'another location').toBe('one')
})

test('a drawn delay belongs to one write in one location', async () => {
  const { clock, kv } = setUp()
  const drawn = [10 * SECOND, 90 * SECOND]
  const at = kv.location('a', { visibleAfterMs: () => drawn.shift()! }).binding
  await at.put('a', 'late')
  const lateSeenFrom = []
  for (let second = 0; second <= 120; second += 30) {
    lateSeenFrom.push(await at.get('a', { cacheTtl: 30 }))
    clock.advance(30 * SECOND)
  }
  expect(lateSeenFrom).toEqual([null, 'late', 'late', 'late', 'late'])
  expect(drawn).toEqual([90 * SECOND])
})

test('a key takes one write per second, from all locations together', async () => {
  const { clock, kv } = setUp()
  const [a, b] = [kv.location('a').binding, kv.location('b').binding]
  await a.put('key', 'one')
  await a.put('other', 'one')
  expect(await rejection(b.put('key', 'two'))).toBe('KV PUT failed: 429 Too Many Requests')
  clock.advance(SECOND - 1)
  expect(await rejection(b.delete('key'))).toBe('KV DELETE failed: 429 Too Many Requests')
  clock.advance(1)
  await b.put('key', 'two')
  kv.arrive()
  expect(await a.get('key')).toBe('two')
})

test('an entry ends with its time to live, also if its location has read it', async () => {
  const { clock, kv } = setUp()
  const at = kv.location('a', { visibleAfterMs: 0 }).binding
  await at.put('a', 'one', { expirationTtl: 60 })
  clock.advance(59 * SECOND)
  expect(await at.get('a')).toBe('one')
  clock.advance(SECOND)
  expect(await at.get('a')).toBeNull()
})

test('a call fails, hangs, or loses its answer, as its operation, keys and location decide', async () => {
  const { kv } = setUp()
  const at = kv.location('a', { visibleAfterMs: 0 }).binding
  const calls: KvCall[] = []
  kv.fate = (call) => {
    calls.push(call)
    if (call.keys.includes('failing')) return 'fails'
    return call.keys.includes('lost') && call.operation === 'put' ? 'lost' : null
  }
  expect(await rejection(at.put('failing', 'x'))).toBe('KV PUT failed: 500 Internal Server Error')
  expect(await rejection(at.get(['good', 'failing']))).toBe('KV GET failed: 500 Internal Server Error')
  expect(await rejection(at.put('lost', 'x'))).toBe('KV PUT failed: 500 Internal Server Error')
  kv.fate = () => null
  expect([await at.get('failing'), await at.get('lost')]).toEqual([null, 'x'])
  expect(calls).toContainEqual({ operation: 'get', keys: ['good', 'failing'], location: 'a' })

  kv.fate = ({ operation }) => (operation === 'get' ? 'hangs' : null)
  let hasAnswered = false
  void at.get('lost').finally(() => {
    hasAnswered = true
  })
  await at.put('good', 'x')
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(hasAnswered).toBe(false)
  kv.isDown = true
  expect(await rejection(at.delete('good'))).toBe('KV DELETE failed: 500 Internal Server Error')
})
