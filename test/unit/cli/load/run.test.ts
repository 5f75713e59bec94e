import { expect, test } from 'vitest'
import type { Tick } from '../../../../src/cli/load/figures.ts'
import type { FindMoves } from '../../../../src/cli/load/leases.ts'
import { reportText } from '../../../../src/cli/load/report.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { nth, runOn, type Setting, whole } from '../../../support/load-run.ts'
import { type Faults, notFound, problem, type Sent } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'
import { books, Shelf } from './books.ts'

/** Runs a load of books on a server with these faults. */
async function load(faults: Faults = {}, options: Partial<Setting> & { shelf?: Shelf } = {}) {
  const { shelf = new Shelf(), ...rest } = options
  return { ...(await runOn({ routes: [shelf.route], faults, nouns: [books], ...rest })), shelf }
}

const BOOKS = /^\/books$/

test('a correct server passes', async () => {
  const { report, server, shelf, ticks } = await load()
  expect(report.isSound).toBe(true)
  expect(report.requests).toEqual({ planned: 200, dropped: 0, late: 0, retries: 0, recovered: 0, failed: 0 })
  // Without the four sign-ups and four first books.
  const writes = server.sent.filter(({ method }) => method !== 'GET').length - 8
  expect(report.writes).toEqual({ acknowledged: writes, refused: 0, unknown: 0 })
  expect(writes).toBeGreaterThan(80)
  expect(report.readBack).toEqual({ books: shelf.texts.size, late: 0, ...whole })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0, notYetSeen: 0 })
  expect(report.sightings.own).toBeGreaterThan(15)
  expect(report.kinds.map(({ kind }) => kind)).toEqual(['read book', 'write book', 'edit book', 'all'])
  expect(report.kinds.map(({ n }) => n)).not.toContain(0)
  expect(report.kinds.at(-1)).toMatchObject({ kind: 'all', n: 200, failed: 0 })
  expect(ticks.map(({ seconds }) => seconds).slice(0, 3)).toEqual([1, 2, 3])
  expect(ticks[4]).toMatchObject({ requestsPerSecond: 20, failed: 0, retries: 0, inFlight: 0 })
  const counts = `read back  ${shelf.texts.size} books: 0 lost, 0 doubled, 0 unexpected, 0 unread`
  expect(reportText(report).split('\n')).toContain(counts)
})

test('the same seed sends the same requests', async () => {
  const sent = async (seed: number) =>
    (await load({}, { seed })).server.sent.map(({ method, path, json }) => `${method} ${path} ${json.text}`)
  expect(await sent(5)).toEqual(await sent(5))
  expect(await sent(5)).not.toEqual(await sent(6))
})

test('no user writes two things at a time, however slow the server is', async () => {
  const writing = new Map<string, number>()
  let most = 0
  const writers = (token: string, change: number) => {
    const count = (writing.get(token) ?? 0) + change
    writing.set(token, count)
    return count
  }
  const latencyMs = ({ method, token }: Sent) => {
    if (method === 'GET' || !token) return 1
    most = Math.max(most, writers(token, 1))
    return 700
  }
  const losesAnswer = ({ method, token }: Sent) => {
    if (method !== 'GET' && token) writers(token, -1)
    return false
  }
  const { report } = await load({ latencyMs, losesAnswer })
  expect(most).toBe(1)
  // Four users write 1.4 times per second each. The other requests are counted as dropped.
  expect(report.requests.dropped).toBeGreaterThan(20)
  expect(report.requests.planned).toBe(200)
  expect(report.kinds.at(-1)?.n).toBe(200 - report.requests.dropped)
  expect(report.isSound).toBe(true)
})

test('times run from the planned start, so a pause of the server shows in all requests planned during it', async () => {
  // The server answers no request for two seconds.
  let startedAt: number | null = null
  const time = new VirtualTime()
  const latencyMs = ({ method, path }: Sent) => {
    if (method !== 'GET' || path === '/readyz') return 1
    startedAt ??= time.now()
    const ms = time.now() - startedAt
    return ms >= 4_000 && ms < 6_000 ? 6_000 - ms : 1
  }
  const { report } = await load({ latencyMs }, { time, users: 2, reads: 1 })
  const all = report.kinds.at(-1)
  expect(all?.p50Ms).toBeLessThan(2)
  expect(all?.p99Ms).toBeGreaterThan(1_850)
  expect(all?.maxMs).toBeGreaterThan(1_900)
  expect(all?.maxMs).toBeLessThanOrEqual(2_001)
})

test('times run from the planned start even if the generator is late', async () => {
  const time = new VirtualTime()
  const arrived: Sent[] = []
  const clock = {
    now: time.now,
    timeout: time.timeout,
    sleep: (ms: number) => time.sleep(ms + (arrived.length === 50 ? 500 : 0)),
  }
  const latencyMs = (sent: Sent) => arrived.push(sent) && 1
  const { report } = await load({ latencyMs }, { time, clock, users: 2, reads: 1 })
  expect(report.requests).toMatchObject({ planned: 200, dropped: 0 })
  expect(report.requests.late).toBeGreaterThan(5)
  expect(report.kinds.at(-1)?.maxMs).toBeGreaterThanOrEqual(500)
})

test('lost answers are recovered with the same key, and nothing is doubled', async () => {
  const { report, shelf } = await load({ losesAnswer: ({ method, before }) => method === 'POST' && before === 0 })
  const writes = report.kinds.find(({ kind }) => kind === 'write book')?.n ?? 0
  // Including four sign-ups and four first books.
  expect(report.requests).toMatchObject({ retries: writes + 8, recovered: writes + 8, failed: 0 })
  expect(shelf.texts.size).toBe(writes + 4)
  expect(report.readBack).toMatchObject({ ...whole, books: writes + 4 })
  expect(report.isSound).toBe(true)
})

test('an acknowledged write that is missing is lost', async () => {
  const { report, seconds } = await load({}, { shelf: new Shelf(nth(9, 'POST', BOOKS)) })
  expect(report.readBack.lost).toBeGreaterThan(0)
  expect(report.isSound).toBe(false)
  // It is read again for as long as a reader without a token may see an older state.
  expect(seconds).toBeGreaterThan(85)
})

/** A book that a move loses. Its source shows it to readers without a token for 35 s after the last write, then no shard does. */
function leftOutByMove(time: VirtualTime): Faults {
  let writtenAt = 0
  return {
    refuse({ method, path, token }) {
      if (method !== 'GET') writtenAt = time.now()
      return !token && path.endsWith('/b7') && time.now() > writtenAt + 35_000 ? notFound() : null
    },
  }
}

test.each<[string, FindMoves | null, number]>([
  ['without a token', null, 50],
  ['while the operators’ API is unavailable', () => Promise.reject(new Error('unavailable')), 50],
  ['while a move settles', async () => [{ id: 'one', state: 'settling', settlesAt: 'soon' }], 50],
  ['after a move that just commits', async () => [{ id: 'one', state: 'committed', settlesAt: null }], 300],
])(
  'a book that a move lost is found, although its source still shows it at the end of the load: %s',
  async (_, findMoves, seconds) => {
    const time = new VirtualTime()
    const { report } = await load(leftOutByMove(time), { time, findMoves })
    expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
    expect(report.isSound).toBe(false)
    expect(time.now() / 1_000).toBeGreaterThan(seconds)
  },
)

test('without a settling move there is no wait, and the report names a move that is still open', async () => {
  const { report, seconds } = await load(
    {},
    { findMoves: async () => [{ id: 'one', state: 'copying', settlesAt: null }] },
  )
  expect(seconds).toBeLessThan(12)
  expect(report.movesToCome).toBe(1)
  expect(reportText(report)).toContain('moves      1 open: the report does not cover what they move from now on')
})

test('a thing that is missing at first and found within 75 s is reported as late', async () => {
  let reads = 0
  const isLate = ({ path, token }: Sent) => !token && path.endsWith('/b7') && ++reads <= 2
  const { report } = await load({ refuse: (sent) => (isLate(sent) ? notFound() : null) })
  expect(report.readBack).toMatchObject({ ...whole, late: 1 })
  expect(report.isSound).toBe(true)
  expect(report.examples).toEqual(['late: book b7: not found'])
  expect(reportText(report)).toContain('0 unread, 1 late')
})

test('a write without an answer may exist or not', async () => {
  const { report } = await load({ losesAnswer: nth(9, 'POST', BOOKS) })
  expect(report.writes).toMatchObject({ unknown: 1 })
  expect(report.readBack).toMatchObject(whole)
  // The server answered, and broke the connection each time.
  expect(report.isSound).toBe(false)
  const refuse = nth(9, 'POST', BOOKS)
  const other = await load({ refuse: (sent) => (refuse(sent) ? new Response('gone', { status: 502 }) : null) })
  expect(other.report.writes).toMatchObject({ unknown: 1 })
  expect(other.report.readBack).toMatchObject(whole)
})

test('a permanent refusal fails the run with its reason', async () => {
  const is = nth(9, 'POST', BOOKS)
  const { report } = await load({ refuse: (sent) => (is(sent) ? problem(500, 'INTERNAL') : null) })
  expect(report.requests.failed).toBe(1)
  expect(report.failures).toEqual({ '500 INTERNAL': 1 })
  expect(report.writes).toMatchObject({ refused: 1, unknown: 0 })
  expect(report.isSound).toBe(false)
  expect(reportText(report)).toContain('  1 × 500 INTERNAL')
})

test('failures while the server is unreachable for a while are counted and excused', async () => {
  const time = new VirtualTime()
  const isUnreachable = () => time.now() > 4_000 && time.now() < 30_000
  const { report } = await load(
    { unreachable: () => (isUnreachable() ? 'ECONNREFUSED' : null) },
    { time, rate: 10, durationMs: 8_000, users: 9 },
  )
  expect(report.failures).toEqual({ ECONNREFUSED: report.requests.failed })
  expect(report.requests.failed).toBeGreaterThan(20)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(true)
})

test('a server that stays unreachable soon leaves all unread, which fails the run', async () => {
  const time = new VirtualTime()
  const { report } = await load(
    { unreachable: () => (time.now() > 4_000 ? 'ECONNREFUSED' : null) },
    { time, rate: 10, durationMs: 5_000, users: 40 },
  )
  expect(report.readBack.books).toBeGreaterThan(40)
  expect(report.readBack).toMatchObject({ ...whole, unread: report.readBack.books })
  expect(report.isSound).toBe(false)
  expect(time.now()).toBeLessThan(180_000)
})

test('a load that is told to end still reads everything back', async () => {
  const stop = new AbortController()
  const onTick = (tick: Tick) => {
    if (tick.seconds >= 3) stop.abort()
  }
  const { report } = await load({}, { until: stop.signal, onTick })
  expect(report.seconds).toBeCloseTo(3, 0)
  expect(report.readBack).toMatchObject(whole)
  expect(report.readBack.books).toBeGreaterThan(10)
})

test('an error that prevents the start of a load names the cause and the fix', async () => {
  const unreachable = load({ unreachable: () => 'ECONNREFUSED' })
  await expect(unreachable).rejects.toThrow(UserError)
  await expect(unreachable).rejects.toMatchObject({ fix: expect.stringContaining('npm run dev') })
  const unready = load({ refuse: () => new Response('shard-001 is not migrated', { status: 503 }) })
  await expect(unready).rejects.toMatchObject({
    message: 'http://localhost is not ready (503).\nshard-001 is not migrated',
    fix: expect.stringContaining('Fix the dependency that /readyz names'),
  })
  const limited = problem(429, 'RATE_LIMITED', { 'retry-after': '60' })
  const refused = load({ refuse: ({ path }) => (path === '/visitors' ? limited.clone() : null) })
  await expect(refused).rejects.toMatchObject({
    message: 'http://localhost did not sign up a user, because it limits requests (429 RATE_LIMITED).',
    fix: expect.stringContaining('RATE_LIMITS'),
  })
  const unwritten = load({ refuse: ({ path }) => (path === '/books' ? problem(422, 'INVALID') : null) })
  await expect(unwritten).rejects.toMatchObject({
    message: 'http://localhost did not accept a first book (422 INVALID).',
    fix: expect.stringContaining('http://localhost/readyz'),
  })
})

test('an application whose nouns contribute no requests is refused', async () => {
  await expect(runOn({ routes: [] })).rejects.toMatchObject({ fix: expect.stringContaining('load.operator.ts') })
})
