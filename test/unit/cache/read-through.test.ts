import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { LoadRead } from '../../../src/cache/cache.ts'
import { limits } from '../../../src/core/limits.ts'
import { CacheWorld, type CachingIsolate, ownerOf, policy, type Thing } from '../../support/cache-world.ts'

const SECOND = 1_000
const TTL = policy.ttlMs
const original = { ...limits }

let world: CacheWorld
let here: CachingIsolate

beforeEach(() => setUp())
afterEach(() => {
  Object.assign(limits, original)
  vi.restoreAllMocks()
})

function setUp(memoryBytes?: number) {
  world = new CacheWorld(memoryBytes === undefined ? {} : { memoryBytes })
  here = world.isolate('here')
  // The library that shares loads compares times with Date.now().
  vi.spyOn(Date, 'now').mockImplementation(() => world.now)
}

/** A read: its value or error, how long it took, and what it says about itself. */
async function read(key: string, { at = here, owners = [] as string[] } = {}) {
  const startedAt = world.now
  const request = at.request(owners)
  const thing = await world.until(request.read(key)).catch((error: Error) => error.message)
  return { thing, ms: world.now - startedAt, status: request.cache.status() }
}

async function readMany(keys: string[], owners: string[] = []) {
  const request = here.request(owners)
  const things = await world.until(request.readMany(keys))
  return { things: [...things.values()], status: request.cache.status() }
}

/** What other isolates have put into KV, visible here. */
async function putIntoKv(key: string, text: string) {
  await world.kv.location('elsewhere').binding.put(key, text)
  world.kv.arrive()
}

const entry = (value: Thing | null, at: number) => JSON.stringify({ value, version: value?.version ?? null, at })

describe('a stale value', () => {
  test('within TTL + SWR is shown at once, and refreshed in the background, once', async () => {
    const first = world.commit('a')
    await read('a')
    const second = world.commit('a')
    await world.pass(TTL + 10 * SECOND)
    const stale = { thing: first, ms: 0, status: 'banyan; hit; ttl=-11; key="a"; detail=memory' }
    expect(await read('a')).toEqual(stale)
    expect(await read('a')).toEqual(stale)
    await world.pass(SECOND)
    expect((await read('a')).thing).toEqual(second)
    expect(world.loads).toHaveLength(2)
  })

  test('is shown at once even if KV and the shard do not answer', async () => {
    const first = world.commit('a')
    await read('a')
    await world.pass(TTL + 10 * SECOND)
    world.kv.fate = () => 'hangs'
    world.shard = 'hangs'
    expect(await read('a')).toMatchObject({ thing: first, ms: 0 })
    await world.pass(10 * SECOND)
    expect(await read('a')).toMatchObject({ thing: first, ms: 0 })
  })

  test.each(['fails', 'hangs'] as const)(
    'within its grace period is shown if the shard %s, with a negative ttl; then the error is',
    async (how) => {
      const first = world.commit('a')
      await read('a')
      world.shard = how
      await world.pass(TTL + policy.graceMs - 2 * SECOND)
      const grace = await read('a')
      expect(grace).toMatchObject({ thing: first, status: 'banyan; fwd=stale; ttl=-239; key="a"; detail=memory' })
      expect(grace.ms).toBeLessThanOrEqual(limits.cacheSoftMs)
      await world.pass(3 * SECOND)
      const after = await read('a')
      expect(after.thing).toBeTypeOf('string')
      expect(after.ms).toBeLessThanOrEqual(limits.cacheReadMs)
    },
  )

  test('is shown even if a timer ends a millisecond before its time, as they do', async () => {
    here = world.isolate('here', { ...world.clock, sleep: (ms, signal) => world.clock.sleep(ms - 1, signal) })
    const first = world.commit('a')
    await read('a')
    world.shard = 'hangs'
    await world.pass(TTL + policy.graceMs - 2 * SECOND)
    expect((await read('a')).thing).toEqual(first)
  })

  test('that says "does not exist" is never shown', async () => {
    expect((await read('a')).thing).toBeNull()
    const created = world.commit('a')
    expect((await read('a')).thing, 'within its own TTL').toBeNull()
    await world.pass(policy.negativeTtlMs)
    expect((await read('a')).thing).toEqual(created)
    world.commit('b', false)
    await read('b')
    world.shard = 'fails'
    await world.pass(policy.negativeTtlMs)
    expect((await read('b')).thing).toBe('the shard is down')
  })

  test('that is hot is refreshed before it expires, so that no reader sees it stale', async () => {
    world.commit('a')
    await read('a')
    for (let reads = 0; reads < limits.cacheHotReads; reads++) await read('a')
    await world.pass(0.9 * TTL - SECOND)
    await read('a')
    await world.pass(2 * SECOND)
    expect((await read('a')).status).toBe('banyan; hit; ttl=58; key="a"; detail=memory')
    expect(world.loads).toHaveLength(2)
  })
})

describe('concurrent readers', () => {
  const readers = (count: number) =>
    Promise.all(
      Array.from({ length: count }, () =>
        here
          .request()
          .read('a')
          .catch((error: Error) => error.message),
      ),
    )

  test('cause one load; if it fails, one other', async () => {
    const thing = world.commit('a')
    expect(new Set(await world.until(readers(1_000)))).toEqual(new Set([thing]))
    expect(world.loads).toHaveLength(1)

    await world.pass(TTL + policy.graceMs)
    world.shard = 'fails'
    const calls = vi.spyOn(world, 'load')
    expect(new Set(await world.until(readers(1_000)))).toEqual(new Set(['the shard is down']))
    expect(calls).toHaveBeenCalledTimes(2)
  })

  test('whose leader never gets an answer wait for a second, then one of them loads', async () => {
    const thing = world.commit('a')
    world.shard = 'hangs'
    const leader = here.request()
    void leader.read('a').catch(() => undefined)
    await world.pass(100)
    world.shard = 'answers'
    const startedAt = world.now
    expect(new Set(await world.until(readers(100)))).toEqual(new Set([thing]))
    expect(world.now - startedAt).toBeLessThanOrEqual(limits.cacheJoinMs + 20)
    expect(world.loads).toHaveLength(1)
  })

  test('who never get an answer wait no longer than their limit', async () => {
    world.shard = 'hangs'
    const startedAt = world.now
    const answers = await world.until(readers(100))
    expect(world.now - startedAt).toBeLessThanOrEqual(limits.cacheReadMs)
    expect(new Set(answers)).toEqual(new Set(['The load of a did not end in time.']))
  })
})

describe('an isolate never goes back', () => {
  test('a copy in KV that is older than the value it has evicted is refused', async () => {
    setUp(1_000)
    const first = world.commit('a')
    await putIntoKv('a', entry(first, world.now))
    const second = world.commit('a')
    here.request().cache.write('a', second, policy)
    for (const key of ['b', 'c', 'd', 'e']) await read(key)
    expect(here.memory.memory.peek('a')).toBeNull()
    expect((await read('a')).thing).toEqual(second)
  })

  test('a load that was overtaken by a write or a deletion is not kept', async () => {
    const first = world.commit('a')
    const late = slowLoad(first)
    const second = world.commit('a')
    here.request().cache.write('a', second, policy)
    expect(await world.until(late)).toEqual(second)
    expect((await read('a')).thing).toEqual(second)

    world.commit('b')
    const beforeDeletion = slowLoad(world.state('b').thing, 'b')
    world.commit('b', false)
    here.request().cache.write('b', null, policy)
    expect(await world.until(beforeDeletion)).toBeNull()
    expect((await read('b')).thing).toBeNull()
  })

  /** A load that has read this value in the shard. Its answer arrives later. A second load is quick. */
  function slowLoad(value: Thing | null, key = 'a') {
    let loads = 0
    const load = async () => {
      if (loads++ > 0) return (await world.load([key])).get(key) ?? null
      await world.scheduler.sleep(500)
      return value
    }
    return here.request([], { load }).read(key)
  }

  test('two loads at once: the one that began later, but read earlier, is not kept', async () => {
    const first = world.commit('a')
    const second = world.commit('a')
    const answersLater = (value: Thing | null, ms: number) => async () => {
      await world.scheduler.sleep(ms)
      return value
    }
    const slow = here.request([], { load: answersLater(second, 2_000) }).read('a')
    await world.pass(limits.cacheJoinMs + 1)
    const overtaken = here.request([], { load: answersLater(first, 2_000) }).read('a')
    expect(await world.until(slow)).toEqual(second)
    await world.until(overtaken)
    expect((await read('a')).thing).toEqual(second)
  })

  test('an older value that a write has replaced does not return by a late answer of an earlier write', async () => {
    const [earlier, later] = [here.request(), here.request()]
    const first = world.commit('a')
    const second = world.commit('a')
    later.cache.write('a', second, policy)
    earlier.cache.write('a', first, policy)
    expect((await read('a')).thing).toEqual(second)

    world.commit('a', false)
    later.cache.write('a', null, policy)
    earlier.cache.write('a', second, policy)
    expect((await read('a')).thing).toBeNull()
  })

  test('others read nothing older than what a client has read in its own slot', async () => {
    const first = world.commit('a')
    await putIntoKv('a', entry(first, world.now))
    expect((await read('a')).thing).toEqual(first)
    const second = world.commit('a')
    expect((await read('a', { owners: [ownerOf('a')] })).thing).toEqual(second)
    expect((await read('a')).thing).toEqual(second)
    world.commit('a', false)
    expect((await readMany(['a'], [ownerOf('a')])).things).toEqual([])
    expect((await read('a')).thing).toBeNull()
  })
})

describe('a client’s own slots', () => {
  test('are read from the shard, by a plain read, and nothing of them is kept', async () => {
    world.commit('a')
    const reads: LoadRead[] = []
    const load = async (read: LoadRead) => {
      reads.push(read)
      return (await world.load(['a'])).get('a') ?? null
    }
    for (const owners of [[ownerOf('a')], [ownerOf('a')], [], []])
      await world.until(here.request(owners, { load }).read('a'))
    expect(reads).toEqual(['lease', 'lease', 'exact'])
    expect(world.kv.calls).toEqual(['get a'])
  })

  test('an owner that only the value names is read from it', async () => {
    const first = world.commit('a')
    await read('a')
    const second = world.commit('a')
    const owner = ({ key }: Thing) => ownerOf(key)
    expect(await world.until(here.request([ownerOf('b')], { owner }).read('a'))).toEqual(first)
    expect(await world.until(here.request([ownerOf('a')], { owner }).read('a'))).toEqual(second)
  })

  test('a client who has written does not read "does not exist" from the cache if only the value names its owner', async () => {
    await read('a')
    const created = world.commit('a')
    const owner = ({ key }: Thing) => ownerOf(key)
    expect(await world.until(here.request([ownerOf('b')], { owner }).read('a'))).toEqual(created)
  })
})

describe('KV', () => {
  test('gives an isolate what another one has loaded and read twice', async () => {
    const thing = world.commit('a')
    await read('a')
    await read('a')
    await read('a')
    expect(world.kv.count('put')).toBe(1)
    world.kv.arrive()
    expect(await read('a', { at: world.isolate('there') })).toMatchObject({
      thing,
      status: 'banyan; hit; ttl=59; key="a"; detail=kv',
    })
    expect(world.loads).toHaveLength(1)
  })

  test.each(['fails', 'hangs'] as const)('that %s is a miss, once, after at most 250 ms', async (how) => {
    const thing = world.commit('a')
    world.kv.fate = () => how
    const first = await read('a')
    expect(first).toMatchObject({ thing, status: 'banyan; fwd=miss; stored; ttl=59; key="a"; detail=shard' })
    expect(first.ms).toBeLessThanOrEqual((how === 'hangs' ? limits.kvWaitMs : 0) + 10)
    expect(world.kv.count('get')).toBe(1)
    expect(here.memory.counts).toMatchObject({ miss: 1, hit: 0 })
    expect(await read('a')).toMatchObject({ thing, ms: 0 })
  })

  test.each(['fails', 'hangs'] as const)('that %s does not fail a write-through or an invalidation', async (how) => {
    world.kv.fate = () => how
    const request = here.request()
    request.cache.write('a', world.commit('a'), policy)
    request.cache.invalidate('b')
    await world.until(Promise.all(request.background))
    expect(await read('a')).toMatchObject({ thing: world.state('a').thing, ms: 0 })
  })

  test('refuses two writes of a key within a second, and no reader notices', async () => {
    const request = here.request()
    for (let edit = 0; edit < 3; edit++) request.cache.write('a', world.commit('a'), policy)
    await world.until(Promise.all(request.background))
    expect(world.logged.filter((line) => line.includes('429'))).toHaveLength(2)
    expect((await read('a')).thing).toEqual(world.state('a').thing)
  })

  test.each([
    ['nothing', ''],
    ['a text without its end', '{"value":{"key":"a","versi'],
    ['HTML', '<!doctype html>'],
    ['null', 'null'],
    ['a number', '7'],
    ['a list', '[1,2]'],
    ['an entry without a time', '{"value":{"key":"a","version":9},"version":9}'],
    ['an entry without a value', '{"version":9,"at":1}'],
    ['an entry whose version is a text', '{"value":{"key":"a","version":9},"version":"9","at":1}'],
    ['an entry whose time is null', '{"value":{"key":"a","version":9},"version":9,"at":null}'],
    ['a negative entry with a version', '{"value":null,"version":9,"at":1}'],
    ['another software’s envelope', '{"metadata":{"createdTime":1,"ttl":60000},"value":{"key":"a","version":9}}'],
  ])('with %s under the key: a miss', async (_, text) => {
    const thing = world.commit('a')
    // A plausible time, so that the age alone does not refuse it.
    await putIntoKv('a', text.replace('"at":1', `"at":${world.now}`))
    expect(await read('a')).toMatchObject({ thing, status: expect.stringContaining('miss') })
    expect((await readMany(['a'])).things).toEqual([thing])
  })

  test('with a copy from the future, of a clock that was wrong: a miss', async () => {
    const thing = world.commit('a')
    await putIntoKv('a', entry({ key: 'a', version: 9 }, world.now + 3_600 * SECOND))
    expect((await read('a')).thing).toEqual(thing)
  })

  test('with a copy that is too old to show: a miss', async () => {
    const thing = world.commit('a')
    await putIntoKv('a', entry({ key: 'a', version: 9 }, world.now - TTL - policy.graceMs))
    expect((await read('a')).thing).toEqual(thing)
  })

  test('does not take a key of more than 512 bytes, which is then cached in memory only', async () => {
    const key = 'k'.repeat(513)
    const thing = world.commit(key)
    expect(await read(key)).toMatchObject({ thing, status: expect.stringContaining('miss') })
    expect(await read(key)).toMatchObject({ thing, ms: 0 })
  })

  test('does not take a value of more than 25 MiB, and memory does not, either: each read loads it', async () => {
    const text = 'x'.repeat(26_214_400)
    const big = { key: 'a', version: 1, text }
    const load = async () => big
    for (let reads = 0; reads < 3; reads++) {
      const request = here.request([], { load })
      expect(await world.until(request.read('a'))).toBe(big)
      await world.until(Promise.all(request.background))
    }
    expect(here.memory.memory.bytes).toBe(0)
  })
})

describe('many keys', () => {
  const keys = (count: number) => Array.from({ length: count }, (_, index) => `k${index}`)

  test('250: three calls of KV, and one load of all misses', async () => {
    for (const key of keys(250)) if (key !== 'k7') world.commit(key)
    const { things, status } = await readMany(keys(250))
    expect(things).toHaveLength(249)
    expect(world.kv.calls.map((call) => call.split(' ').length - 1)).toEqual([100, 100, 50])
    expect(world.loads.map(({ length }) => length)).toEqual([250])
    expect(status?.split(', '), 'of which it tells').toHaveLength(8)
    expect((await readMany(keys(250))).things).toHaveLength(249)
    expect(world.loads).toHaveLength(1)
  })

  test('one of which is too long for KV: the others’ copies are still used', async () => {
    const long = 'k'.repeat(513)
    const [a, b] = [world.commit('a'), world.commit(long)]
    await putIntoKv('a', entry(a, world.now))
    expect((await readMany(['a', long])).things).toEqual(expect.arrayContaining([a, b]))
    expect(world.loads).toEqual([[long]])
  })

  test('one of which has a copy that is not JSON: the others’ copies are still used', async () => {
    const [a, b] = [world.commit('a'), world.commit('b')]
    await putIntoKv('a', entry(a, world.now))
    await putIntoKv('b', 'not JSON')
    expect((await readMany(['a', 'b'])).things).toEqual(expect.arrayContaining([a, b]))
    expect(world.loads).toEqual([['b']])
  })

  test('that other readers are loading: each key is loaded once', async () => {
    for (const key of ['a', 'b', 'c']) world.commit(key)
    const [one, many, more] = [here.request(), here.request(), here.request()]
    const all = Promise.all([one.read('a'), many.readMany(['a', 'b']), more.readMany(['b', 'c'])])
    const [, first, second] = await world.until(all)
    expect([[...first.keys()].sort(), [...second.keys()].sort()]).toEqual([
      ['a', 'b'],
      ['b', 'c'],
    ])
    expect(world.loads.flat().sort()).toEqual(['a', 'b', 'c'])
  })

  test('some of the client’s own: both loads fail, and the caller gets one error', async () => {
    world.shard = 'fails'
    const request = here.request([ownerOf('a')])
    await expect(world.until(request.readMany(['a', 'b']))).rejects.toThrow('the shard is down')
    await world.pass(10 * SECOND) // nothing is left that rejects without a handler
  })

  test('none', async () => {
    expect(await readMany([])).toEqual({ things: [], status: null })
    expect(world.kv.calls).toEqual([])
  })
})

describe('a clock that jumps', () => {
  test('ahead: what was kept has expired', async () => {
    world.commit('a')
    await read('a')
    const second = world.commit('a')
    await world.pass(3_600 * SECOND)
    expect((await read('a')).thing).toEqual(second)
  })

  test('back by an hour: what was kept in the future is not shown', async () => {
    let offset = 3_600 * SECOND
    const jumping = { now: () => world.now + offset, sleep: world.clock.sleep }
    here = world.isolate('here', jumping)
    world.commit('a')
    await read('a')
    const negative = await read('b')
    expect(negative.thing).toBeNull()
    offset = 0
    const [a, b] = [world.commit('a'), world.commit('b')]
    expect((await read('a')).thing).toEqual(a)
    expect((await read('b')).thing).toEqual(b)
    expect((await read('b')).ms, 'kept again').toBe(0)
  })
})

test('every value is shared, so it cannot be changed', async () => {
  world.commit('a')
  const { thing } = await read('a')
  expect(() => Object.assign(thing as Thing, { version: 7 })).toThrow(TypeError)
})
