import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import {
  type CacheRequest,
  CacheWorld,
  type CachingIsolate,
  ownerOf,
  policy,
  type Thing,
} from '../../support/cache-world.ts'

// Schedules that a random run seldom meets.

let world: CacheWorld
let here: CachingIsolate

beforeEach(() => setUp())
afterEach(() => vi.restoreAllMocks())

function setUp(options: ConstructorParameters<typeof CacheWorld>[0] = {}) {
  world = new CacheWorld(options)
  here = world.isolate('here')
  // The library that shares loads compares times with Date.now().
  vi.spyOn(Date, 'now').mockImplementation(() => world.now)
}

/** Like a profile, whose key does not say who owns it. */
const byValue = { owner: ({ key }: Thing) => ownerOf(key) }

async function putIntoKv(key: string, thing: Thing | null, at: number): Promise<void> {
  const text = JSON.stringify({ value: thing, version: thing?.version ?? null, at })
  await world.kv.location('elsewhere').binding.put(key, text)
  world.kv.arrive()
}

/** A load that takes `ms`, and reads the row after `readsAt`. */
const load = (ms: number, readsAt: number) => async () => {
  await world.scheduler.sleep(readsAt)
  const { thing } = world.state('a')
  await world.scheduler.sleep(ms - readsAt)
  return thing
}

const outcome = async (request: CacheRequest) => [
  await world.until(request.read('a')).catch((error: Error) => error.message),
  request.cache.status()?.split('; ')[1],
]

const tooOldToShow = policy.ttlMs + policy.staleWhileRevalidateMs + 5_000

test('a batch does not wait for a key that another request loads while KV is asked', async () => {
  world.commit('a')
  world.commit('b')
  world.kv.fate = ({ keys }) => (keys.length > 1 ? 'hangs' : null)
  const many = here.request().readMany(['a', 'b'])
  await world.until(here.request().read('a'))
  expect([...(await world.until(many)).keys()].toSorted()).toEqual(['a', 'b'])
  expect(world.loads).toEqual([['a'], ['b']])
})

describe('a client reads its own write', () => {
  test('although an older load ends during its own, having found nothing', async () => {
    await world.pass(5_000)
    const older = here.request([], { ...byValue, load: load(1_300, 10) }).read('a')
    await world.pass(1_050)
    const thing = world.commit('a') // in another isolate
    const own = here.request([ownerOf('a')], { ...byValue, load: load(400, 100) })
    expect(await world.until(own.read('a'))).toEqual(thing)
    await world.until(older)
  })

  test('or gets an error, if its load fails while a fresh older copy comes from KV', async () => {
    await world.pass(5_000)
    const older = world.commit('a')
    const at = world.now
    await world.pass(100)
    world.commit('a')
    const failing = async () => {
      await world.scheduler.sleep(200)
      throw new Error('down')
    }
    const own = outcome(here.request([ownerOf('a')], { ...byValue, load: failing }))
    await world.pass(5)
    await putIntoKv('a', older, at)
    expect(await world.until(here.request([], byValue).read('a'))).toEqual(older)
    expect(await own).toEqual(['down', undefined])
  })
})

test('a write whose answer is late does not bring back a row that was deleted after it', async () => {
  const there = world.isolate('there')
  world.commit('a')
  await world.pass(10_000)
  const edit = here.request()
  await world.pass(50)
  const edited = world.commit('a')
  await world.pass(100)
  const deletion = there.request()
  world.commit('a', false)
  deletion.cache.write('a', null, policy)
  await world.pass(2_500)
  edit.cache.write('a', edited, policy)
  await world.until(Promise.all(edit.background))
  await world.pass(policy.negativeTtlMs + 1_000)
  world.kv.arrive()
  expect(await world.until(there.request().read('a'))).toBeNull()
})

describe('while a shard fails', () => {
  test('500 stale reads ask it once', async () => {
    world.commit('a')
    await world.until(here.request().read('a'))
    await world.pass(policy.ttlMs + 1_000)
    world.shard = 'fails'
    const calls = vi.spyOn(world, 'call')
    for (let reads = 0; reads < 500; reads++) {
      await world.until(here.request().read('a'))
      await world.pass(5)
    }
    expect(calls).toHaveBeenCalledTimes(1)
  })

  test('an isolate with an empty memory shows the copy in KV for its grace period', async () => {
    const thing = world.commit('a')
    await putIntoKv('a', thing, world.now)
    await world.pass(tooOldToShow)
    world.shard = 'fails'
    expect(await outcome(here.request())).toEqual([thing, 'fwd=stale'])
  })

  test('a value that is evicted during the failing load is still shown', async () => {
    setUp({ memoryBytes: 700, latencyMs: () => 100 })
    const thing = world.commit('a')
    await world.until(here.request().read('a'))
    await world.pass(tooOldToShow)
    world.shard = 'fails'
    const read = outcome(here.request())
    await world.pass(5)
    here.memory.memory.delete('a')
    expect(await read).toEqual([thing, 'fwd=stale'])
  })
})

test('2,100 keys are read within the limit although KV hangs', async () => {
  const keys = Array.from({ length: 2_100 }, (_, index) => `k${index}`)
  for (const key of keys) world.commit(key)
  world.kv.fate = () => 'hangs'
  const startedAt = world.now
  expect((await world.until(here.request().readMany(keys))).size).toBe(2_100)
  expect(world.now - startedAt).toBeLessThan(limits.kvWaitMs + 100)
})
