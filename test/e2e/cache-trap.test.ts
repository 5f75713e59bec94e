import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestHarness, type TestHarness, unstable_readConfig } from 'wrangler'
import { root } from '../../src/cli/shell/root.ts'
import { configFor } from '../../src/cli/wrangler/local-shards.ts'
import { systemClock } from '../../src/core/clock.ts'
import { limits } from '../../src/core/limits.ts'
import type { TrapAnswer, TrapCrowd, TrapQuestion } from '../support/trap-worker.ts'

// In the runtime, a promise belongs to the request that created it. If that request ends, other requests wait for the
// promise and hang.

let harness: TestHarness
let url: URL
/** Resolves when the key `many` has been cached and has expired. */
let expired: Promise<void>
const TTL_MS = 3_000
const LOAD_MS = 300
/** The Worker's `cacheReadMs`. */
const READ_MS = 2_000
/** Allows for computing on a busy machine. */
const COMPUTING_MS = 1_000

beforeAll(async () => {
  process.env.WRANGLER_LOG ??= 'error'
  const { kv_namespaces, compatibility_date, compatibility_flags } = unstable_readConfig({
    config: configFor(1).configPath,
  })
  const main = path.join(root, 'test/support/trap-worker.ts')
  const services = [{ binding: 'SELF', service: 'trap' }]
  harness = createTestHarness({
    root,
    workers: [{ config: { name: 'trap', main, compatibility_date, compatibility_flags, kv_namespaces, services } }],
  })
  url = (await harness.listen()).url
  await read('many', { ttlMs: TTL_MS })
  expired = systemClock.sleep(TTL_MS)
})
afterAll(() => harness?.close())

async function post<T>(body: object, signal: AbortSignal | null = null): Promise<T> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal })
  return (await response.json()) as T
}

const questionOf = (key: string, changes: Partial<TrapQuestion> = {}): TrapQuestion => ({
  cache: 'ours',
  key,
  load: 'answers',
  ms: LOAD_MS,
  ttlMs: 60_000,
  leaves: false,
  outlives: true,
  ...changes,
})

/** Reads the key in a request of its own. `ms` is how long that took. */
async function read(key: string, { signal, ...changes }: Partial<TrapQuestion> & { signal?: AbortSignal } = {}) {
  const startedAt = performance.now()
  const answer = await post<TrapAnswer>(questionOf(key, changes), signal)
  return { ...answer, ms: performance.now() - startedAt }
}

const loadsOf = (key: string) => post<number>({ loadsOf: key })

const valuesOf = (answers: TrapAnswer[]) => [...new Set(answers.map(({ value }) => value))]
const longest = (answers: { ms: number }[]) => Math.max(...answers.map(({ ms }) => ms))

/** Ends the request that leads the load, in its own way. */
const leaders: [string, (key: string, cache: TrapQuestion['cache']) => Promise<void>][] = [
  ['whose response has ended', async (key, cache) => void (await read(key, { cache, leaves: true }))],
  [
    'whose client has disconnected',
    async (key, cache) => {
      const client = new AbortController()
      const reading = read(key, { cache, signal: client.signal })
      await systemClock.sleep(LOAD_MS / 3)
      client.abort()
      await reading.catch(() => undefined)
    },
  ],
]

describe.concurrent('a leader', () => {
  test.each(leaders)('%s: its load serves the others, and the next request', async (how, leave) => {
    const key = `abandoned, ${how}`
    await leave(key, 'ours')
    const waiters = await Promise.all(Array.from({ length: 20 }, () => read(key)))
    expect(longest(waiters)).toBeLessThan(LOAD_MS + COMPUTING_MS)
    expect(valuesOf(waiters)).toEqual([1])
    expect((await read(key)).status).toContain('hit')
    expect(await loadsOf(key)).toBe(1)
  })

  test('whose load ended with its request: the others wait for a second, then load the value', async () => {
    await read('interrupted', { leaves: true, outlives: false })
    const waiters = await Promise.all(Array.from({ length: 20 }, () => read('interrupted')))
    expect(longest(waiters)).toBeGreaterThan(limits.cacheJoinMs)
    expect(longest(waiters)).toBeLessThan(limits.cacheJoinMs + LOAD_MS + COMPUTING_MS)
    expect(valuesOf(waiters)).toHaveLength(1)
    expect((await read('interrupted')).status).toContain('hit')
  })

  test('whose load fails: one of the others loads, and all are served', async () => {
    const failing = read('failing', { load: 'fails' })
    await systemClock.sleep(LOAD_MS / 3)
    const waiters = await Promise.all(Array.from({ length: 20 }, () => read('failing')))
    expect((await failing).value).toBeNull()
    expect(longest(waiters)).toBeLessThan(2 * LOAD_MS + COMPUTING_MS)
    expect(valuesOf(waiters)).toEqual([2])
    expect(await loadsOf('failing')).toBe(2)
  })

  test('whose load hangs: the others wait for a second, then load the value', async () => {
    void read('hanging', { load: 'hangs' })
    await systemClock.sleep(LOAD_MS / 3)
    const waiters = await Promise.all(Array.from({ length: 20 }, () => read('hanging')))
    expect(longest(waiters)).toBeLessThan(limits.cacheJoinMs + LOAD_MS + COMPUTING_MS)
    expect(valuesOf(waiters)).toEqual([2])
    expect((await read('hanging')).status).toContain('hit')
    expect(await loadsOf('hanging')).toBe(2)
  })

  test('and all others, whose loads hang: nobody waits longer than the limit, and the next request is served', async () => {
    const readers = await Promise.all(Array.from({ length: 20 }, () => read('silent', { load: 'hangs' })))
    expect(longest(readers)).toBeLessThan(READ_MS + COMPUTING_MS)
    expect(valuesOf(readers)).toEqual([null])
    const next = await read('silent')
    expect(next.value).not.toBeNull()
    expect(next.ms).toBeLessThan(limits.cacheJoinMs + LOAD_MS + COMPUTING_MS)
  })

  test('of a cache that keeps its loads in a map, whose response has ended: every later request hangs', async () => {
    await read('naive', { cache: 'naive', leaves: true })
    const silent = read('naive', { cache: 'naive', signal: AbortSignal.timeout(READ_MS) })
    await expect(silent).rejects.toThrow('timeout')
    expect(await loadsOf('naive')).toBe(1)
  })
})

test('1,000 concurrent readers of an expired key cause one load', async () => {
  await expired
  const crowd: TrapCrowd = { readers: 1_000, question: questionOf('many', { ttlMs: TTL_MS }) }
  const answers = await post<TrapAnswer[]>(crowd)
  expect([answers.length, valuesOf(answers)]).toEqual([1_000, [2]])
  expect(await loadsOf('many')).toBe(2)
  const collapsed = answers.filter(({ status }) => status?.includes('collapsed'))
  console.log(`${collapsed.length} of 1,000 readers waited for another one's load`)
  expect(collapsed.length).toBeGreaterThan(900)
})
