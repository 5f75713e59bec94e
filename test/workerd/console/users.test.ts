import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { createIdSource } from '../../../src/core/ids.ts'
import type { Env } from '../../../workers/env.ts'
import { drive, planMove } from '../../support/moving.ts'
import { connectionLost, linkedDatabase, seededRandom } from '../../support/sharding-doubles.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env & Record<'SHARD_000' | 'SHARD_001', D1Database>
const token = bindings.OPERATOR_TOKEN!
const USERS = 400

interface Page {
  items: { id: string; handle: string; displayName: string; createdAt: string }[]
  next: string | null
  failed: string[]
  missing: string | null
}

const isolate = workerIsolate()

async function list(query: Record<string, string>, from = isolate): Promise<Page> {
  const answer = await from.request('GET', `/operator/v1/users?${new URLSearchParams(query)}`, { token })
  expect(answer.status, answer.text).toBe(200)
  return answer.json<Page>()
}

/** The pages of a list. `between` runs after each page. */
async function pages(query: Record<string, string>, between: (page: number) => unknown = () => null, from = isolate) {
  const all: Page[] = []
  let cursor: string | null = null
  do {
    const page: Page = await list({ limit: '50', ...query, ...(cursor ? { cursor } : {}) }, from)
    all.push(page)
    await between(all.length)
    cursor = page.next
  } while (cursor)
  return all
}

const handlesOf = (all: Page[]) => all.flatMap(({ items }) => items.map(({ handle }) => handle))

const random = seededRandom(17)
const ids = createIdSource({ now: () => 1_700_000_000_000, sleep: async () => undefined }, random)
const users = Array.from({ length: USERS }, (_, index) => ({
  id: ids.userId(),
  handle: `u${(index * 7_919) % 10_007}`,
  createdAt: 1_700_000_000_000 + Math.floor(random.fraction() * 200), // many at one moment
}))
const byHandle = users.map(({ handle }) => handle).toSorted()
const newestFirst = users
  .toSorted((one, other) => other.createdAt - one.createdAt || (one.id < other.id ? 1 : -1))
  .map(({ handle }) => handle)

beforeAll(async () => {
  // The directory's first boot gives the shards their slots.
  await workerIsolate().request('GET', '/operator/v1/shards', { token })
  const insert = 'INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, ?, ?, ?, ?, 1)'
  for (const [binding, isHere] of [['SHARD_000', true] as const, ['SHARD_001', false] as const]) {
    const own = users.filter(({ id }) => id < '8' === isHere)
    await bindings[binding].batch(
      own.map(({ id, handle, createdAt }) =>
        bindings[binding].prepare(insert).bind(id, handle, handle.toUpperCase(), '', createdAt),
      ),
    )
  }
})

describe('the list of users', () => {
  test('has each user once, by handle', async () => {
    const all = await pages({})
    expect(handlesOf(all)).toEqual(byHandle)
    expect(all.slice(0, -1).every(({ items }) => items.length === 50)).toBe(true)
    expect(all[0]!.items[0]).toEqual({
      id: users.find(({ handle }) => handle === byHandle[0])!.id,
      handle: byHandle[0],
      displayName: byHandle[0]!.toUpperCase(),
      createdAt: expect.stringMatching(/^2023-11-14T.*Z$/),
    })
  })

  test('has each user once, newest first', async () => {
    expect(handlesOf(await pages({ order: 'recent' }))).toEqual(newestFirst)
  })

  test('has the handles that start with a prefix, in any case', async () => {
    const prefix = byHandle[30]!.slice(0, 3)
    const expected = byHandle.filter((handle) => handle.startsWith(prefix))
    expect(expected.length).toBeGreaterThan(1)
    expect(handlesOf(await pages({ prefix: prefix.toUpperCase(), limit: '1' }))).toEqual(expected)
    expect(handlesOf(await pages({ prefix: 'u\u{10ffff}' }))).toEqual([])
  })

  test.each([
    [{ slots: '8000-7fff' }, '/slots'],
    [{ slots: 'all' }, '/slots'],
    [{ slots: '' }, '/slots'],
    [{ order: 'recent', prefix: 'u' }, '/prefix'],
    [{ order: 'oldest' }, '/order'],
    [{ limit: '101' }, '/limit'],
    [{ cursor: btoa('["a"]') }, '/cursor'],
    [{ order: 'recent', cursor: btoa('["a","b"]') }, '/cursor'],
  ])('refuses %j', async (query, pointer) => {
    const answer = await isolate.request('GET', `/operator/v1/users?${new URLSearchParams(query)}`, { token })
    expect([answer.status, answer.json()]).toMatchObject([422, { code: 'INVALID', errors: [{ pointer }] }])
  })

  test('is for operators', async () => {
    expect((await isolate.request('GET', '/operator/v1/users')).status).toBe(401)
  })
})

/** An isolate whose second shard does not answer while `isDown`. */
function troubledIsolate() {
  const state = { isDown: true }
  const SHARD_001 = linkedDatabase(bindings.SHARD_001, async (send) => {
    if (state.isDown) throw connectionLost()
    return send()
  })
  return { state, isolate: workerIsolate({ SHARD_001 } as Partial<Env>) }
}

test('a shard that does not answer is named on every page, and its users can be listed afterwards, wherever they are', async () => {
  const { isolate: troubled } = troubledIsolate()
  const first = await pages({}, undefined, troubled)
  expect(first.length).toBeGreaterThan(2)
  for (const { failed, missing } of first) expect([failed, missing]).toEqual([['shard-001'], '8000-ffff'])
  const { id } = await planMove('users', 'c000', 'shard-000', 'dfff')
  await drive(id)
  const rest = await pages({ slots: '8000-ffff' })
  expect([...handlesOf(first), ...handlesOf(rest)].toSorted()).toEqual(byHandle)
  expect(handlesOf(await pages({ slots: 'c000-cfff,e000-e0ff' }))).toEqual(
    users
      .filter(({ id }) => /^(c|e0)/.test(id))
      .map(({ handle }) => handle)
      .toSorted(),
  )
})

test('pages have each user once while two moves run', async () => {
  const here = await planMove('users', '0000', 'shard-001', '1fff')
  const turns: (() => Promise<unknown>)[] = []
  const inSteps = (id: string) => drive(id, () => new Promise<void>((resume) => turns.push(async () => resume())))
  const moves = inSteps(here.id).then(async () => {
    const there = await planMove('users', '8000', 'shard-000', '9fff')
    return inSteps(there.id)
  })
  let steps = 0
  let isOver = false
  void moves.finally(() => {
    isOver = true
  })
  /** Lets the movers take one step. */
  const step = async () => {
    for (let waited = 0; turns.length === 0 && !isOver && waited < 100; waited++)
      await new Promise((resolve) => setTimeout(resolve, 5))
    await turns.shift()?.()
    steps++
  }
  for (let round = 0; !isOver; round++) {
    const order = round % 2 === 0 ? {} : { order: 'recent' }
    expect(handlesOf(await pages(order, step)), `round ${round}`).toEqual(round % 2 === 0 ? byHandle : newestFirst)
  }
  expect((await moves).state).toBe('settling')
  expect(steps).toBeGreaterThan(10)
})
