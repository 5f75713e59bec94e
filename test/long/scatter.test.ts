import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { slotText } from '../../src/core/ids.ts'
import { OPERATOR_TOKEN, type Stack, startStack } from '../support/stack.ts'

const SHARDS = 64
const ROWS = 1_000
const SLOTS_PER_SHARD = 65_536 / SHARDS
const headers = { authorization: `Bearer ${OPERATOR_TOKEN}` }

interface Page {
  items: { id: string; handle: string; createdAt: string }[]
  next: string | null
  failed: string[]
  missing: string | null
}

const shardName = (index: number) => `shard-${String(index).padStart(3, '0')}`
const numberText = (number: number, length: number) => String(number).padStart(length, '0')

/** Users of all shards. Handles and times have nothing to do with slots. */
const users = Array.from({ length: SHARDS * ROWS }, (_, index) => {
  const shard = index % SHARDS
  const slot = shard * SLOTS_PER_SHARD + ((index * 31) % SLOTS_PER_SHARD)
  return {
    shard,
    id: `${slotText(slot)}01hf7yat00${numberText(index, 16)}`,
    handle: `u${numberText((index * 48_271) % 99_991, 5)}`,
    createdAt: 1_700_000_000_000 + ((index * 69_621) % 9_973),
  }
})

let stack: Stack
beforeAll(async () => {
  stack = await startStack({ shards: SHARDS })
  await stack.bearer().get('/operator/v1/shards', { headers })
  const insert = `INSERT INTO profiles (id, handle, display_name, bio, created_at, version)
    SELECT value ->> 'id', value ->> 'handle', value ->> 'handle', '', value ->> 'createdAt', 1 FROM json_each(?)`
  for (const [index, database] of [...stack.databases.values()].entries()) {
    const own = users.filter(({ shard }) => shard === index)
    await database.prepare(insert).bind(JSON.stringify(own)).run()
  }
}, 600_000)
afterAll(() => stack?.close())

async function ask<T>(method: string, path: string, json?: unknown): Promise<T> {
  const answer = await stack.bearer().request(method, path, { headers, ...(json ? { json } : {}) })
  expect(answer.status, `${method} ${path}: ${answer.text}`).toBeLessThan(300)
  return answer.json<T>()
}

async function pages(query: Record<string, string>): Promise<Page[]> {
  const all: Page[] = []
  let cursor: string | null = null
  do {
    const asked: Record<string, string> = { ...query, ...(cursor ? { cursor } : {}) }
    const page: Page = await ask('GET', `/operator/v1/users?${new URLSearchParams(asked)}`)
    all.push(page)
    cursor = page.next
  } while (cursor)
  return all
}

const handlesOf = (all: Page[]) => all.flatMap(({ items }) => items.map(({ handle }) => handle))
const byHandle = users.map(({ handle }) => handle).toSorted()

interface Move {
  id: string
  state: string
}

/** Keeps two moves running until it is told to stop. Resolves to the number of moves that got to settle. */
async function moveOn(stop: AbortSignal): Promise<number> {
  let settled = 0
  for (let round = 0; !stop.aborted; round++) {
    const started = await Promise.all(
      [0, 1].map(async (lane) => {
        const from = (round * 4 + lane * 2) % SHARDS
        const isBack = Math.floor((round * 4) / SHARDS) % 2 === 1
        const first = from * SLOTS_PER_SHARD
        const slots = `${slotText(first)}-${slotText(first + SLOTS_PER_SHARD / 2)}`
        const body = { slots, target: shardName(isBack ? from : (from + 1) % SHARDS) }
        return (await ask<{ moves: Move[] }>('POST', '/operator/v1/moves', body)).moves
      }),
    )
    for (const { id } of started.flat()) {
      let { state } = { state: '' }
      while (!['settling', 'purging', 'done'].includes(state)) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        state = (await ask<{ move: Move }>('GET', `/operator/v1/moves/${id}`)).move.state
        expect(['aborted', 'failed']).not.toContain(state)
      }
      settled++
    }
  }
  return settled
}

describe('64 shards of 1,000 users', () => {
  test('pages of 50 have all 64,000, in order, once each, while two moves run', async () => {
    const stop = new AbortController()
    const walk = pages({ limit: '50' }).finally(() => stop.abort())
    const [all, moves] = await Promise.all([walk, moveOn(stop.signal)])
    expect(handlesOf(all)).toEqual(byHandle)
    expect(all).toHaveLength(1_280)
    expect(all.every(({ failed, missing }) => failed.length === 0 && missing === null)).toBe(true)
    expect(moves).toBeGreaterThan(3)
    console.log(`64,000 users in 1,280 pages, while ${moves} moves ran`)
  }, 900_000)

  test('with one shard out of service every page names it, and its users can be listed afterwards', async () => {
    const down = 40
    await ask('PATCH', `/operator/v1/shards/${shardName(down)}`, { state: 'restoring' })
    await new Promise((resolve) => setTimeout(resolve, 2_500)) // a lease
    const quarter = { limit: '100', order: 'recent' }
    const all = await pages({ ...quarter, slots: '8000-bfff' })
    for (const { failed } of all) expect(failed).toEqual([shardName(down)])
    const missing = new Set(all.map((page) => page.missing))
    expect(missing.size).toBe(1)
    const [slots] = missing
    await ask('PATCH', `/operator/v1/shards/${shardName(down)}`, { state: 'serving' })
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const rest = await pages({ ...quarter, slots: slots! })
    expect(rest.every(({ failed }) => failed.length === 0)).toBe(true)
    expect(handlesOf(rest).length).toBeGreaterThan(0)
    const expected = users.filter(({ id }) => id >= '8' && id < 'c').map(({ handle }) => handle)
    expect(expected).toHaveLength(16 * ROWS)
    expect([...handlesOf(all), ...handlesOf(rest)].toSorted()).toEqual(expected.toSorted())
    const times = all.flatMap(({ items }) => items.map(({ createdAt }) => createdAt))
    expect(times).toEqual(times.toSorted().toReversed())
  }, 900_000)
})

/** D1 queries per request, as the answer's `server-timing` reports them. */
async function queriesPerRoute(of: Stack): Promise<Record<string, number>> {
  const operator = of.bearer()
  const member = of.bearer()
  const browser = of.browser()
  const name = `counted_${of.databases.size}`
  const person = { email: `${name}@example.com`, handle: name, password: 'a pass phrase of mine' }
  const { token } = (await member.post('/api/v1/accounts', person)).json<{ token: string }>()
  member.token = token
  await browser.submit('/login', { login: name, password: person.password })
  const answers = {
    'GET /api/v1/users/:handle': () => member.get(`/api/v1/users/${name}`),
    'GET /api/v1/me': () => member.get('/api/v1/me'),
    'PATCH /api/v1/me': () => member.request('PATCH', '/api/v1/me', { json: { bio: 'Counted.' } }),
    'GET /@handle': () => browser.get(`/@${name}`),
    'GET /settings': () => browser.get('/settings'),
    'GET /search': () => browser.get('/search'),
    'GET /api/v1/search/users': () => member.get('/api/v1/search/users?q=counted'),
    'GET /search?q=': () => browser.get('/search?q=counted_'),
    'GET /operator/v1/users': () => operator.get('/operator/v1/users', { headers }),
    'GET /operator/v1/users, newest first': () => operator.get('/operator/v1/users?order=recent', { headers }),
  }
  const counts: Record<string, number> = {}
  for (const [route, request] of Object.entries(answers)) {
    const answer = await request()
    expect(answer.status, `${route}: ${answer.text}`).toBe(200)
    counts[route] = Number(/\bd1;desc="(\d+)"/.exec(answer.headers.get('server-timing') ?? '')?.[1])
  }
  return counts
}

test('with 1, 4 and 64 shards, a scatter makes one query per shard, and every other route as many as before', async () => {
  const vars = { CACHE: 'off' }
  const counts: Record<string, number>[] = []
  for (const shards of [1, 4]) {
    const small = await startStack({ shards, vars })
    counts.push(await queriesPerRoute(small))
    await small.close()
  }
  await stack.close()
  stack = await startStack({ shards: SHARDS, vars })
  counts.push(await queriesPerRoute(stack))
  const byShards = (route: string) => counts.map((ofStack) => ofStack[route])
  const flat = [
    'GET /api/v1/users/:handle',
    'GET /api/v1/me',
    'PATCH /api/v1/me',
    'GET /@handle',
    'GET /settings',
    'GET /search',
  ]
  for (const route of flat) expect(new Set(byShards(route)).size, `${route}: ${byShards(route)}`).toBe(1)
  for (const route of ['GET /api/v1/search/users', 'GET /operator/v1/users', 'GET /operator/v1/users, newest first'])
    expect(byShards(route), route).toEqual([1, 4, 64])
  expect(byShards('GET /search?q='), 'with the viewer').toEqual([2, 5, 65])
}, 900_000)
