import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import { rows, runEverywhere } from '../../support/shard-rows.ts'
import { connectionLost, linkedDatabase } from '../../support/sharding-doubles.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env & Record<'SHARD_000' | 'SHARD_001', D1Database>
const isolate = workerIsolate()

interface Page {
  items: { handle: string; displayName: string }[]
  next: string | null
  partial: boolean
}

const search = async (q: string, more = '', from = isolate): Promise<Page> => {
  const answer = await from.request('GET', `/api/v1/search/users?q=${encodeURIComponent(q)}${more}`)
  expect(answer.status, answer.text).toBe(200)
  return answer.json<Page>()
}

const handles = ({ items }: Page) => items.map(({ handle }) => handle)

/** All pages of a search. */
async function everybody(q: string, limit: number): Promise<string[]> {
  const found: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: Page = await search(q, `&limit=${limit}&cursor=${encodeURIComponent(cursor)}`)
    expect(page.items.length).toBeLessThanOrEqual(limit)
    found.push(...handles(page))
    cursor = page.next
  }
  return found
}

const people = [
  ['zora_1', 'Zora Neale'],
  ['zora_2', 'ZORA  neale hurston'],
  ['neale', 'Zora'],
  ['zebra', 'Ｚebra Crossing'],
  ['quiet', '\u{10ffff}\u{10ffff} end'],
  ['strasse', 'Straße'],
  ['odos', 'ΟΔΟΣ'],
  ['smile', '\u{1f600} smiles'],
  ['wide', '\uff21\uff22'],
] as const

let token: string
beforeAll(async () => {
  for (const [handle, displayName] of people) {
    const json = { email: `${handle}@example.com`, handle, displayName, password: 'a pass phrase of mine' }
    const answer = await isolate.request('POST', '/api/v1/accounts', { json })
    expect(answer.status, answer.text).toBe(201)
    token = answer.json<{ token: string }>().token
  }
  expect(new Set((await rows('profiles')).map(({ id }) => String(id) < '8')).size, 'users in both shards').toBe(2)
})

describe('people are found by the start of', () => {
  test.each([
    ['a handle', 'zora_', ['zora_1', 'zora_2']],
    ['a handle, in another case and with an @', '@ZORA_', ['zora_1', 'zora_2']],
    ['a name, with other white space, width and case', 'zora neale', ['zora_1', 'zora_2']],
    ['a name that is another’s handle', 'neale', ['neale']],
    ['either, once each, in the order of what matches', 'z', ['zebra', 'neale', 'zora_1', 'zora_2']],
    ['a name in full width', 'zebra c', ['zebra']],
    ['a name with the last character of all', '\u{10ffff}', ['quiet']],
    ['a name with an emoji', '\u{1f600}', ['smile']],
    ['a name in its folded form', 'STRASS', ['strasse']],
    ['a name before its last letter', 'οδο', ['odos']],
    ['nothing in the middle', 'hurston', []],
    ['no pattern', 'z%', []],
    ['no pattern of one character', 'zor__', []],
  ])('%s', async (_, q, expected) => {
    const page = await search(q)
    expect([handles(page), page.next, page.partial]).toEqual([expected, null, false])
  })
})

test('pages of any size have each match once, in one order', async () => {
  const all = handles(await search('z', '&limit=100'))
  for (const limit of [1, 2, 3]) expect(await everybody('z', limit)).toEqual(all)
})

test('a changed name is found, and the earlier one is not', async () => {
  const answer = await isolate.request('PATCH', '/api/v1/me', { json: { displayName: 'Narrow' }, token })
  expect(answer.status).toBe(200)
  expect(handles(await search('narrow'))).toEqual(['wide'])
  expect(handles(await search('ab'))).toEqual([])
  await isolate.request('PATCH', '/api/v1/me', { json: { bio: 'Still narrow.' }, token })
  expect(handles(await search('narrow'))).toEqual(['wide'])
})

test('imported people are found', async () => {
  const users = [{ externalId: 'old1', email: 'old1@example.com', handle: 'old_1', displayName: 'Ánna' }]
  const operator = bindings.OPERATOR_TOKEN!
  await isolate.request('POST', '/operator/v1/imports', { json: { source: 'old', users }, token: operator })
  expect(handles(await search('ánn'))).toEqual(['old_1'])
})

/** Each minute runs one of the nouns' duties. */
async function sixMinutes() {
  for (let minute = 0; minute < 6; minute++) await isolate.cron(Date.now() + minute * 60_000)
}

test('the cron makes old rows searchable, without a new version of the profile', async () => {
  const before = await rows('profiles')
  await runEverywhere('UPDATE profiles SET search_name = NULL')
  expect(handles(await search('zora neale'))).toEqual([])
  await sixMinutes()
  const order = (all: typeof before) => all.toSorted((one, other) => (String(one.id) < String(other.id) ? -1 : 1))
  expect(order(await rows('profiles'))).toEqual(order(before))
})

test('the cron corrects the name of a row that a previous version of the Worker has changed', async () => {
  const rename = (name: string) =>
    runEverywhere("UPDATE profiles SET display_name = ?, version = version + 1 WHERE handle = 'zebra'", name)
  await rename('Okapi')
  expect(handles(await search('okapi'))).toEqual([])
  await sixMinutes()
  expect(handles(await search('okapi'))).toEqual(['zebra'])
  await rename('Ｚebra Crossing')
  await sixMinutes()
})

describe('a search is refused', () => {
  test.each([
    ['nothing', ''],
    ['white space', '%20%E3%80%80'],
    ['51 characters', 'a'.repeat(51)],
    ['50 characters that are more in their normal form', '%EF%AC%83'.repeat(50)],
  ])('for %s', async (_, q) => {
    const answer = await isolate.request('GET', `/api/v1/search/users?q=${q}`)
    expect([answer.status, answer.json()]).toMatchObject([422, { code: 'INVALID', errors: [{ pointer: '/q' }] }])
    const page = await isolate.request('GET', `/search?q=${q}`)
    expect(page.status).toBe(422)
  })

  test('without q, and with the cursor of another list', async () => {
    expect((await isolate.request('GET', '/api/v1/search/users')).status).toBe(422)
    for (const key of ['["a","b"]', '["a","b","c"]', '{}', 'a'])
      expect((await isolate.request('GET', `/api/v1/search/users?q=a&cursor=${btoa(key)}`)).status).toBe(422)
    expect((await isolate.request('GET', `/api/v1/search/users?q=${'a'.repeat(50)}`)).status).toBe(200)
  })

  test('after 30 searches within a minute from one address', async () => {
    const limited = workerIsolate({ RATE_LIMITS: 'on' })
    const headers = { 'cf-connecting-ip': '192.0.2.77' }
    const ask = (path: string) => limited.request('GET', path, { headers })
    for (let number = 0; number < 30; number++)
      expect((await ask(`/api/v1/search/users?q=rate${number}`)).status).toBe(200)
    const answer = await ask('/search?q=z')
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '60'])
    expect((await ask('/search')).status).toBe(200)
    expect((await ask('/api/v1/users/zebra')).status).toBe(200)
    const operator = { headers, token: String(limited.env.OPERATOR_TOKEN) }
    expect((await limited.request('GET', '/api/v1/search/users?q=z', operator)).status).toBe(200)
  })
})

describe('with the cache', () => {
  /** An isolate whose second shard fails while `isDown`. Counts the queries. */
  function cachedIsolate() {
    const state = { isDown: false, queries: 0 }
    const watched = (database: D1Database, mayFail: boolean) =>
      linkedDatabase(database, async (send) => {
        state.queries++
        if (mayFail && state.isDown) throw connectionLost()
        return send()
      })
    const overrides = { SHARD_000: watched(bindings.SHARD_000, false), SHARD_001: watched(bindings.SHARD_001, true) }
    return { state, isolate: workerIsolate({ CACHE: 'on', ...overrides } as Partial<Env>) }
  }

  test('the same search in another spelling asks no shard, for a signed-in reader too', async () => {
    const { state, isolate: cached } = cachedIsolate()
    const first = await search('Zora  N', '', cached)
    const { queries } = state
    expect(queries).toBe(2)
    expect(await search('zora n', '', cached)).toEqual(first)
    const answer = await cached.request('GET', '/api/v1/search/users?q=ZORA%20N', { token })
    expect([answer.json(), state.queries]).toEqual([first, queries])
    expect(answer.headers.get('cache-control')).toMatch(/no-store/)
    expect(answer.headers.get('cache-status')).toContain('banyan; hit')
    await search('zora n', '&limit=1', cached)
    expect(state.queries).toBe(queries + 2)
  })

  test('a shard that does not answer makes the page partial, and that page is kept for seconds only', async () => {
    const { state, isolate: cached } = cachedIsolate()
    state.isDown = true
    const partial = await search('z', '', cached)
    expect(partial.partial).toBe(true)
    expect(partial.items.length).toBeLessThan(4)
    const { queries } = state
    expect(await search('z', '', cached)).toEqual(partial)
    expect(state.queries, 'the partial page was cached').toBe(queries)
    const page = await cached.request('GET', '/search?q=z')
    expect(page.text).toContain('people may be missing')
    state.isDown = false
    await new Promise((resolve) => setTimeout(resolve, 3_050))
    expect(handles(await search('z', '', cached))).toEqual(['zebra', 'neale', 'zora_1', 'zora_2'])
  })
})

test('the page has a form, and works without a script', async () => {
  const form = await isolate.request('GET', '/search')
  expect(form.text).toContain('<form class="form" method="get" action="/search"')
  expect(form.text).toContain('aria-current="page"')
  const found = await isolate.request('GET', `/search?q=${encodeURIComponent('<b>"z')}`)
  expect([found.status, found.text.includes('<b>')]).toEqual([200, false])
  const first = await isolate.request('GET', '/search?q=zora')
  for (const handle of ['neale', 'zora_1', 'zora_2']) expect(first.text).toContain(`href="/@${handle}"`)
  expect(first.headers.get('cache-control')).toBe('no-store')
  expect((await isolate.request('GET', '/search?q=nobody+at+all')).text).toContain(
    'No handle or name starts with this text.',
  )
})
