import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { type HeldMap, MapHolder } from '../../../src/sharding/map-holder.ts'
import {
  HeldCopies,
  ManualClock,
  mapRequest,
  mapWire,
  ScriptedSource,
  silence,
} from '../../support/sharding-doubles.ts'

const LEASE = 30_000
const START = 1_000_000

/** A holder, its clock, and a directory that answers epoch `epoch` with a clock that is `skew` ms off the isolate's. */
function stand({ epoch = 1, skew = 0, copies = new HeldCopies() } = {}) {
  const clock = new ManualClock(START)
  const directory = { epoch, skew, isAway: false }
  const source = new ScriptedSource(() => {
    if (directory.isAway) throw new Error('Network connection lost.')
    return mapWire(directory.epoch, clock.now() + directory.skew, 0)
  })
  const holder = new MapHolder(clock, LEASE)
  const request = mapRequest(source, copies)
  const noCopy = mapRequest(source)
  let last: HeldMap | null = null
  /** What the holder returns to a request now: the epoch, and whether unguarded reads may use it. */
  const given = async (atLeastEpoch = 0, asking = noCopy) => {
    last = await holder.current(asking, atLeastEpoch)
    return { epoch: last.map.epoch, leased: holder.vouchesFor(last) }
  }
  /** Whether unguarded reads may still use the last returned map. */
  const isLeased = () => holder.vouchesFor(last!)
  return { clock, directory, source, holder, copies, request, noCopy, given, isLeased }
}

/** Runs everything that does not wait for time. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('the lease', () => {
  test.each([
    ['the same time', 0, LEASE],
    ['a directory whose clock is behind: counted from issuedAt', -4_000, LEASE - 4_000],
    ['a directory whose clock is ahead: counted from the request', 7_000, LEASE],
    ['an answer that took 1.5 s: counted from the request', 0, LEASE - 1_500],
  ])('%s', async (name, skew, lasts) => {
    const { clock, directory, source, given, isLeased } = stand({ skew })
    if (name.includes('took'))
      source.reply = () => {
        clock.advance(1_500)
        return mapWire(1, clock.now() + directory.skew, 0)
      }
    expect(await given()).toEqual({ leased: true, epoch: 1 })
    const from = clock.now()
    clock.time = from + lasts - 1
    expect(isLeased()).toBe(true)
    clock.time = from + lasts
    expect(isLeased()).toBe(false)
  })

  test('a warm isolate makes no call until the lease has expired, then one', async () => {
    const { clock, source, given } = stand()
    await given()
    for (let i = 0; i < 100; i++) {
      clock.advance(299)
      expect((await given()).leased).toBe(true)
    }
    expect(source.calls).toBe(1)
    clock.advance(100)
    expect((await given()).leased).toBe(true)
    expect(source.calls).toBe(2)
  })

  test('refreshIfDue loads once after a third of the lease, and never for an isolate without a map', async () => {
    const { clock, source, holder, noCopy, given, isLeased } = stand()
    await holder.refreshIfDue(noCopy)
    expect(source.calls).toBe(0)
    await given()
    clock.advance(9_999)
    await holder.refreshIfDue(noCopy)
    expect(source.calls).toBe(1)
    clock.advance(1)
    await Promise.all([holder.refreshIfDue(noCopy), holder.refreshIfDue(noCopy), holder.refreshIfDue(noCopy)])
    expect(source.calls).toBe(2)
    await given()
    clock.advance(29_999)
    expect(isLeased()).toBe(true)
    expect(source.calls).toBe(2)
  })
})

describe('one load at a time', () => {
  test('fifty cold requests load the map once', async () => {
    const { source, holder, noCopy } = stand()
    const held = await Promise.all(Array.from({ length: 50 }, () => holder.current(noCopy)))
    expect(source.calls).toBe(1)
    expect(new Set(held.map(({ map }) => map)).size).toBe(1)
  })

  test('fifty refused writes that need a newer map', async () => {
    const { directory, source, holder, noCopy, given } = stand()
    await given()
    directory.epoch = 2
    const maps = await Promise.all(Array.from({ length: 50 }, () => holder.newerThan(1, noCopy)))
    expect(maps.map((map) => map?.epoch)).toEqual(Array.from({ length: 50 }, () => 2))
    expect(source.calls).toBe(2)
  })

  test('fifty requests of clients that know a newer epoch', async () => {
    const { directory, source, given } = stand()
    await given()
    directory.epoch = 2
    const held = await Promise.all(Array.from({ length: 50 }, () => given(2)))
    expect(held.every(({ epoch, leased }) => epoch === 2 && leased)).toBe(true)
    expect(source.calls).toBe(2)
  })

  test.each([
    ['current', 0],
    ['newerThan', 1],
  ])(
    '%s: if the leader’s request has ended and its load never settles, waiters load for themselves after 1 s',
    async (_, newerThan) => {
      const { clock, directory, source, holder, noCopy, given } = stand()
      if (newerThan) await given()
      directory.epoch = newerThan + 1
      const callsBefore = source.calls
      const ask = () =>
        newerThan ? holder.newerThan(newerThan, noCopy) : holder.current(noCopy).then(({ map }) => map)
      const answering = source.reply
      const dead = new Promise<never>(() => undefined)
      // A request that has ended takes its timers with it, so no timer of the leader ever fires.
      const frozen = mapRequest({ map: () => dead }, { get: () => dead, put: async () => undefined })
      void (newerThan ? holder.newerThan(newerThan, frozen) : holder.current(frozen))
      await settle()
      source.reply = answering
      const waiters = Promise.all([ask(), ask(), ask()])
      await settle()
      expect(source.calls).toBe(callsBefore)
      clock.advance(1_000)
      expect((await waiters).map((map) => map?.epoch)).toEqual([1, 1, 1].map((one) => one + newerThan))

      // The dead load does not block later requests either.
      if (newerThan) return
      clock.advance(10_000)
      await holder.refreshIfDue(noCopy)
      const calls = source.calls
      clock.advance(LEASE - 1)
      expect((await given()).leased).toBe(true)
      expect(source.calls).toBe(calls)
      clock.advance(1)
      expect((await given()).leased).toBe(true)
      expect(source.calls).toBe(calls + 1)
    },
  )
})

describe('the data centre’s copy', () => {
  test.each([
    ['fresh', 1, START - 9_000, 0],
    ['of a newer epoch than the directory’s answer would be', 3, START - 1_000, 0],
    ['whose lease has expired', 1, START - LEASE, 1],
  ])('%s: calls of the directory', async (_, epoch, issuedAt, calls) => {
    const copies = new HeldCopies()
    copies.held.set('current', mapWire(epoch, issuedAt, 0))
    const { clock, source, request, given, isLeased } = stand({ copies })
    expect(await given(0, request)).toEqual({ epoch, leased: true })
    expect(source.calls).toBe(calls)
    clock.time = (calls ? START : issuedAt) + LEASE
    expect(isLeased()).toBe(false)
  })

  test('older than the held epoch is ignored, and so is an older answer of the directory', async () => {
    const { clock, directory, source, holder, copies, request, given } = stand({ epoch: 5 })
    await given(0, request)
    clock.advance(LEASE)
    copies.held.set('current', mapWire(4, clock.now(), 1))
    expect((await holder.current(request)).map.epoch).toBe(5)
    expect(source.calls).toBe(2)
    directory.epoch = 4
    copies.held.clear()
    clock.advance(LEASE)
    expect(await given(0, request)).toEqual({ leased: false, epoch: 5 })
  })

  test('a copy under newer-than=1 serves a request that was refused at epoch 1, if the copy is newer', async () => {
    const { clock, directory, source, holder, copies, request, given } = stand()
    await given(0, request)
    copies.held.set('newer-than=1', mapWire(1, clock.now(), 0))
    directory.epoch = 2
    expect((await holder.newerThan(1, request))?.epoch).toBe(2)
    expect(source.calls).toBe(2)
    expect(copies.held.get('newer-than=1')?.epoch).toBe(2)

    const neighbour = new MapHolder(clock, LEASE)
    await neighbour.current(request)
    expect((await neighbour.newerThan(1, request))?.epoch).toBe(2)
    expect(source.calls).toBe(2)
  })

  test('an answer that is not newer is not stored under the key for newer maps', async () => {
    const { holder, copies, request, given } = stand()
    await given(0, request)
    expect(await holder.newerThan(1, request)).toBeNull()
    expect([...copies.held.keys()]).toEqual(['current'])
  })

  test.each(['cold', 'warm'])(
    'a client that knows epoch 2 makes a %s isolate skip the copy of epoch 1',
    async (kind) => {
      const copies = new HeldCopies()
      const { clock, directory, source, request, given } = stand({ copies })
      if (kind === 'warm') await given(0, request)
      copies.held.set('current', mapWire(1, clock.now(), 0))
      directory.epoch = 2
      expect(await given(2, request)).toEqual({ leased: true, epoch: 2 })
      expect(await given(2, request)).toEqual({ leased: true, epoch: 2 })
      expect(source.calls).toBe(kind === 'warm' ? 2 : 1)
    },
  )

  test('a client that knows a newer epoch than the directory gets a map without a lease', async () => {
    const { given } = stand()
    expect(await given(9)).toEqual({ leased: false, epoch: 1 })
    expect(await given(1)).toEqual({ leased: true, epoch: 1 })
  })
})

test('a map without a keyspace, from a directory of an older version, gives way to one of the same epoch that has it', async () => {
  const { clock, holder, noCopy, source, given } = stand()
  const whole = source.reply
  source.reply = async () => {
    const { runs, ...map } = await whole()
    return { ...map, runs: { users: runs.users! } }
  }
  await given()
  source.reply = whole
  clock.advance(LEASE / 2)
  await holder.refreshIfDue(noCopy)
  expect((await holder.current(noCopy)).map.has('claims')).toBe(true)
})

describe('the directory unavailable', () => {
  test('for longer than the lease: the held map has no lease, the directory is asked each second, and the lease returns with it', async () => {
    const { clock, directory, source, given } = stand()
    await given()
    directory.isAway = true
    clock.advance(LEASE)
    expect(await given()).toEqual({ leased: false, epoch: 1 })
    expect(source.calls).toBe(2)
    directory.isAway = false
    clock.advance(999)
    expect((await given()).leased).toBe(false)
    expect(source.calls).toBe(2)
    clock.advance(1)
    expect((await given()).leased).toBe(true)
    expect(source.calls).toBe(3)
  })

  test('while the lease lasts: no request is affected, and the refresh waits a second between tries', async () => {
    const { clock, directory, source, holder, noCopy, given } = stand()
    await given()
    directory.isAway = true
    clock.advance(10_000)
    await holder.refreshIfDue(noCopy)
    await holder.refreshIfDue(noCopy)
    expect(source.calls).toBe(2)
    expect((await given()).leased).toBe(true)
    clock.advance(1_000)
    directory.isAway = false
    await holder.refreshIfDue(noCopy)
    clock.advance(LEASE - 1)
    expect((await given()).leased).toBe(true)
    expect(source.calls).toBe(3)
  })

  test.each([
    ['fails', () => Promise.reject(new Error('Network connection lost.'))],
    ['doesn’t answer within 2 s', () => new Promise<never>(() => undefined)],
  ])('%s, and the isolate never had a map: DIRECTORY_UNAVAILABLE', async (_, reply) => {
    const { clock, source, holder, noCopy } = stand()
    source.reply = reply
    const asked = holder.current(noCopy).catch((error: unknown) => error)
    await settle()
    clock.advance(2_000)
    expect(await asked).toMatchObject({ code: 'DIRECTORY_UNAVAILABLE', status: 503, retryAfterSeconds: 1 })
  })

  test('newerThan returns null, and the held map stays', async () => {
    const { directory, holder, noCopy, given } = stand()
    await given()
    directory.isAway = true
    expect(await holder.newerThan(1, noCopy)).toBeNull()
    expect((await given()).leased).toBe(true)
  })
})

describe('the isolate’s clock', () => {
  test('steps back an hour, which does not extend the lease by an hour', async () => {
    const { clock, source, given, isLeased } = stand()
    await given()
    clock.time -= 3_600_000
    expect(isLeased()).toBe(false)
    expect((await given()).leased).toBe(true)
    expect(source.calls).toBe(2)
    clock.advance(LEASE - 1)
    expect(isLeased()).toBe(true)
    clock.advance(1)
    expect(isLeased()).toBe(false)
  })

  test('steps back an hour while the directory is unavailable: the directory is asked again after a second', async () => {
    const { clock, directory, given } = stand()
    await given()
    directory.isAway = true
    clock.advance(LEASE)
    await given()
    clock.time -= 3_600_000
    directory.isAway = false
    await given()
    clock.advance(1_000)
    expect((await given()).leased).toBe(true)
  })

  test('steps forward an hour: the lease is over, and the next one counts from issuedAt', async () => {
    const { clock, directory, given, isLeased } = stand()
    await given()
    clock.time += 3_600_000
    directory.skew = -3_600_000
    expect(isLeased()).toBe(false)
    expect((await given()).leased).toBe(false)
  })

  test('steps back within a lease: the lease never lasts longer than two', async () => {
    const { clock, given, isLeased } = stand()
    await given()
    clock.advance(LEASE - 1)
    clock.time = START
    expect(isLeased()).toBe(true)
    clock.advance(LEASE)
    expect(isLeased()).toBe(false)
  })
})

test('epochs never fall, whichever of two loads is answered first', async () => {
  const { clock, source, holder, noCopy, given } = stand()
  await given()
  const late = Promise.withResolvers<ReturnType<typeof mapWire>>()
  source.reply = () => late.promise
  const slow = holder.newerThan(1, noCopy)
  await settle()
  source.reply = () => mapWire(4, clock.now(), 1)
  expect((await holder.current(noCopy, 4)).map.epoch).toBe(4)
  late.resolve(mapWire(3, clock.now(), 0))
  expect((await slow)?.epoch).toBe(4)
  expect((await holder.current(noCopy)).map.ownerOf('users', '0000').id).toBe('shard-001')
})

describe('a data centre’s cache that never answers', () => {
  const { cacheWaitMs, mapLoadTimeoutMs } = limits
  const silentCopies = { get: silence, put: silence }

  /** Advances time by single milliseconds until the work is done. Throws after `ms`. */
  async function within<T>(clock: ManualClock, ms: number, work: Promise<T>): Promise<T> {
    let isDone = false
    const done = work.finally(() => {
      isDone = true
    })
    done.catch(() => undefined)
    for (let passed = 0; ; passed += 50) {
      await settle()
      if (isDone) return done
      if (passed > ms) throw new Error(`it had not answered after ${ms} ms`)
      clock.advance(50)
    }
  }

  test('is a miss: a cold isolate asks the directory', async () => {
    const { clock, source, holder } = stand()
    const held = await within(clock, cacheWaitMs, holder.current(mapRequest(source, silentCopies)))
    expect([held.map.epoch, holder.vouchesFor(held), source.calls]).toEqual([1, true, 1])
  })

  test('is also a miss for a warm isolate past its lease, which then has a lease again', async () => {
    const { clock, source, holder, given } = stand()
    await given()
    clock.advance(LEASE + 1)
    const held = await within(clock, cacheWaitMs, holder.current(mapRequest(source, silentCopies)))
    expect([holder.vouchesFor(held), source.calls]).toEqual([true, 2])
  })

  test('and a directory that never answers: a cold isolate reports it unavailable in time; a warm one keeps the map without a lease', async () => {
    const { clock, source, holder, given } = stand()
    source.reply = silence
    const request = mapRequest(source, silentCopies)
    const cold = within(clock, cacheWaitMs + mapLoadTimeoutMs, holder.current(request))
    await expect(cold).rejects.toMatchObject({ code: 'DIRECTORY_UNAVAILABLE', retryAfterSeconds: 1 })
    source.reply = () => mapWire(1, clock.now(), 0)
    await given()
    clock.advance(LEASE + 1)
    source.reply = silence
    const warm = await within(clock, cacheWaitMs + mapLoadTimeoutMs, holder.current(request))
    expect([warm.map.epoch, holder.vouchesFor(warm)]).toEqual([1, false])
  })

  test('leaves nothing open that the request would wait for after its answer', async () => {
    const { clock, source, holder } = stand()
    const opened: Promise<unknown>[] = []
    const request = { ...mapRequest(source, silentCopies), waitUntil: (one: Promise<unknown>) => void opened.push(one) }
    await within(clock, cacheWaitMs, holder.current(request))
    await within(clock, cacheWaitMs, Promise.all(opened))
    expect(clock.pending).toBe(0)
  })
})
