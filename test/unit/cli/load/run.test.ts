import { expect, test } from 'vitest'
import type { Tick } from '../../../../src/cli/load/figures.ts'
import { reportText } from '../../../../src/cli/load/report.ts'
import { type LoadOptions, runLoad } from '../../../../src/cli/load/run.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { type Faults, MisbehavingServer, problem, type Sent } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

const nothingMoves = async () => []

/** Ten seconds of load, at 20 requests a second, half of them writes, on a server with these faults. */
async function load(faults: Faults = {}, options: Partial<LoadOptions> = {}) {
  const time = new VirtualTime()
  const server = new MisbehavingServer(time, faults)
  const ticks: Tick[] = []
  const report = await time.until(
    runLoad({
      url: 'http://localhost',
      findMoves: nothingMoves,
      rate: 20,
      durationMs: 10_000,
      users: 4,
      reads: 0.5,
      seed: 1,
      run: 'load_test',
      fetch: server.fetch,
      clock: time,
      onTick: (tick) => ticks.push(tick),
      ...options,
    }),
  )
  return { report, server, ticks, seconds: time.now() / 1_000 }
}

/** Of all requests of a kind that are sent during the load, the n-th, at each of its tries. */
function nth(n: number, method: string, path: RegExp): (sent: Sent) => boolean {
  let count = 0
  let chosen = ''
  return (sent) => {
    if (sent.method !== method || !path.test(sent.path)) return false
    const one = JSON.stringify(sent.json)
    if (sent.before === 0 && ++count === n) chosen = one
    return one === chosen
  }
}
const once = (is: (sent: Sent) => boolean) => (sent: Sent) => is(sent) && sent.before === 0

const POSTS = /^\/api\/v1\/posts$/
const POST = /^\/api\/v1\/posts\/\w+$/
const ME = /^\/api\/v1\/me$/
const whole = { lost: 0, doubled: 0, unexpected: 0, unread: 0 }

test('a server that does as it says is found to', async () => {
  const { report, server, ticks } = await load()
  expect(report.isSound).toBe(true)
  expect(report.requests).toEqual({ planned: 200, dropped: 0, late: 0, retries: 0, recovered: 0, failed: 0 })
  const writes = server.sent.filter(({ method, path }) => method !== 'GET' && !path.endsWith('/accounts')).length - 4
  expect(report.writes).toEqual({ acknowledged: writes, refused: 0, unknown: 0 })
  expect(writes).toBeGreaterThan(80)
  expect(report.readBack).toEqual({ posts: server.posts.length, profiles: 4, late: 0, ...whole })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0, notYetSeen: 0 })
  expect(report.sightings.own).toBeGreaterThan(20)
  expect(report.kinds.map(({ n }) => n).slice(0, -1)).not.toContain(0)
  expect(report.kinds.at(-1)).toMatchObject({ kind: 'all', n: 200, failed: 0 })
  expect(ticks.map(({ seconds }) => seconds).slice(0, 3)).toEqual([1, 2, 3])
  expect(ticks[4]).toMatchObject({ requestsPerSecond: 20, failed: 0, retries: 0, inFlight: 0 })
  expect(reportText(report)).toContain('0 lost, 0 doubled, 0 unexpected, 0 unread')
})

test('every POST carries a key of its own', async () => {
  const { server } = await load()
  const keys = server.sent.filter(({ method }) => method === 'POST').map(({ key }) => key)
  expect(keys).not.toContain(null)
  expect(new Set(keys).size).toBe(keys.length)
})

test('the same seed sends the same requests', async () => {
  const sent = async (seed: number) =>
    (await load({}, { seed })).server.sent.map(({ method, path, json }) => `${method} ${path} ${json.text}`)
  expect(await sent(5)).toEqual(await sent(5))
  expect(await sent(5)).not.toEqual(await sent(6))
})

test('nobody writes two things at a time, however slow the server is', async () => {
  const writing = new Map<string, number>()
  let most = 0
  const latencyMs = ({ method, token }: Sent) => {
    if (method === 'GET' || !token) return 1
    writing.set(token, (writing.get(token) ?? 0) + 1)
    most = Math.max(most, writing.get(token)!)
    return 700
  }
  const losesAnswer = ({ method, token }: Sent) => {
    if (method !== 'GET' && token) writing.set(token, writing.get(token)! - 1)
    return false
  }
  const { report } = await load({ latencyMs, losesAnswer })
  expect(most).toBe(1)
  // Four people write 1.4 times a second each; what they can't is counted.
  expect(report.requests.dropped).toBeGreaterThan(20)
  expect(report.requests.planned).toBe(200)
  expect(report.kinds.at(-1)!.n + report.requests.dropped).toBe(200)
  expect(report.isSound).toBe(true)
})

test('times run from the planned start, so a server that stands still is seen by all who wait for it', async () => {
  // For two seconds nobody is answered.
  let startedAt: number | null = null
  const time = new VirtualTime()
  const latencyMs = ({ method, path }: Sent) => {
    if (method !== 'GET' || path === '/readyz') return 1
    startedAt ??= time.now()
    const ms = time.now() - startedAt
    return ms >= 4_000 && ms < 6_000 ? 6_000 - ms : 1
  }
  const server = new MisbehavingServer(time, { latencyMs })
  const options = { url: 'http://localhost', rate: 20, durationMs: 10_000, users: 2, reads: 1, seed: 1, run: 'load_t' }
  const report = await time.until(runLoad({ ...options, fetch: server.fetch, clock: time }))
  const { p50Ms, p99Ms, maxMs } = report.kinds.at(-1)!
  expect(p50Ms).toBeLessThan(2)
  expect(p99Ms).toBeGreaterThan(1_850)
  expect(maxMs).toBeGreaterThan(1_900)
  expect(maxMs).toBeLessThanOrEqual(2_001)
})

test('times run from the planned start, also when the generator itself is late', async () => {
  const time = new VirtualTime()
  const server = new MisbehavingServer(time)
  const late = (ms: number) => time.sleep(ms + (server.sent.length === 50 ? 500 : 0))
  const clock = { now: time.now, timeout: time.timeout, sleep: late }
  const options = { url: 'http://localhost', rate: 20, durationMs: 10_000, users: 2, reads: 1, seed: 1, run: 'load_t' }
  const report = await time.until(runLoad({ ...options, fetch: server.fetch, clock }))
  expect(report.requests).toMatchObject({ planned: 200, dropped: 0 })
  expect(report.requests.late).toBeGreaterThan(5)
  expect(report.kinds.at(-1)!.maxMs).toBeGreaterThanOrEqual(500)
})

test('lost answers are recovered with the same key, and nothing is doubled', async () => {
  const { report } = await load({ losesAnswer: ({ method, before }) => method === 'POST' && before === 0 })
  const writes = report.kinds.find(({ kind }) => kind === 'write post')!.n
  // Four sign-ups and their first posts too.
  expect(report.requests).toMatchObject({ retries: writes + 8, recovered: writes + 8, failed: 0 })
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(true)
})

test('without keys a lost answer doubles a post, and the oracle says which', async () => {
  const { report } = await load({ ignoresKeys: true, losesAnswer: once(nth(9, 'POST', POSTS)) })
  expect(report.readBack).toMatchObject({ ...whole, doubled: 1 })
  expect(report.isSound).toBe(false)
  expect(report.examples).toEqual([expect.stringMatching(/^doubled: text \d+: there as p\d{8} too$/)])
})

test('a post that was acknowledged and isn’t there is lost', async () => {
  const { report, seconds } = await load({ forgets: nth(9, 'POST', POSTS) })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^lost: post p\d{8} \(text \d+\): not (found|in load_test_\d’s list)$/)
  // It is looked for again, for as long as a stranger may be shown what was before.
  expect(seconds).toBeGreaterThan(85)
})

/** A post that a move leaves out: its source shows it to strangers for 35 s after the load's last write, and then nobody. */
function leftOutByMove(time: VirtualTime): Faults {
  const id = 'p00000007'
  let writtenAt = 0
  return {
    refuse({ method, path, token }) {
      if (method !== 'GET') writtenAt = time.now()
      return !token && path.endsWith(id) && time.now() > writtenAt + 35_000 ? notFound() : null
    },
  }
}

test.each<[string, LoadOptions['findMoves'], number]>([
  ['without a token', undefined, 50],
  ['while the operators’ API is away', () => Promise.reject(new Error('away')), 50],
  ['while a move settles', async () => [{ id: 'one', state: 'settling', settlesAt: 'soon' }], 50],
  ['after a move that just commits', async () => [{ id: 'one', state: 'committed', settlesAt: null }], 300],
])(
  'what a move has left out is lost, though its source still shows it at the end of the load: %s',
  async (_, findMoves, seconds) => {
    const time = new VirtualTime()
    const server = new MisbehavingServer(time, leftOutByMove(time))
    const options = {
      url: 'http://localhost',
      rate: 20,
      durationMs: 10_000,
      users: 4,
      reads: 0.5,
      seed: 1,
      run: 'load_t',
    }
    const given = { ...options, fetch: server.fetch, clock: time, ...(findMoves ? { findMoves } : {}) }
    const report = await time.until(runLoad(given))
    expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
    expect(report.isSound).toBe(false)
    expect(time.now() / 1_000).toBeGreaterThan(seconds)
  },
)

test('where no move is under way nothing is waited for; one that is yet to come is named', async () => {
  const { report, seconds } = await load(
    {},
    { findMoves: async () => [{ id: 'one', state: 'copying', settlesAt: null }] },
  )
  expect(seconds).toBeLessThan(12)
  expect(report.movesToCome).toBe(1)
  expect(reportText(report)).toContain('moves      1 under way: what they take along from now on isn’t judged')
})

test('what is lost at first and there within 75 s is late, and said to be', async () => {
  let reads = 0
  const isLate = ({ path, token }: Sent) => !token && path.endsWith('p00000007') && ++reads <= 2
  const { report } = await load({ refuse: (sent) => (isLate(sent) ? notFound() : null) })
  expect(report.readBack).toMatchObject({ ...whole, late: 1 })
  expect(report.isSound).toBe(true)
  expect(report.examples).toEqual([expect.stringMatching(/^late: post p00000007 \(text \d+\): not found$/)])
  expect(reportText(report)).toContain('0 unread, 1 late')
})

test('another’s post may be missing for as long as a lease after it was acknowledged, and no longer', async () => {
  const time = new VirtualTime()
  let postedAt = 0
  let readAt = 0
  const refuse = ({ method, path, token }: Sent) => {
    if (method === 'POST' && token) postedAt = time.now()
    if (method !== 'GET' || !token || !POST.test(path) || time.now() > untilMs) return null
    readAt = time.now()
    return notFound()
  }
  let untilMs = 40_000
  const options = { url: 'http://localhost', rate: 2, users: 3, reads: 1, seed: 1, run: 'load_t', durationMs: 60_000 }
  // Nobody writes after the first post; what is one's own is stale at once.
  const young = await time.until(
    runLoad({ ...options, fetch: new MisbehavingServer(time, { refuse }).fetch, clock: time }),
  )
  expect(readAt - postedAt).toBeGreaterThan(30_000)
  expect(young.sightings.notYetSeen).toBeGreaterThan(5)
  expect(young.sightings.overdue).toBe(0)
  untilMs = Number.POSITIVE_INFINITY
  const old = await time.until(
    runLoad({ ...options, run: 'load_u', fetch: new MisbehavingServer(time, { refuse }).fetch, clock: time }),
  )
  expect(old.sightings.overdue).toBeGreaterThan(5)
  expect(old.isSound).toBe(false)
  expect(old.readBack).toMatchObject(whole)
  expect(reportText(old)).toMatch(/others’ {4}\d+ not yet seen, \d+ overdue/)
})

test.each<[string, Faults]>([
  [
    'that no stranger finds',
    { refuse: ({ path, token }) => (!token && path.endsWith('p00000007') ? notFound() : null) },
  ],
  ['that its author’s list leaves out', { isUnlisted: (id) => id === 'p00000007' }],
])('a post %s is lost', async (_, faults) => {
  const { report } = await load(faults)
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
  expect(report.examples.some((example) => example.startsWith('lost: post p00000007 '))).toBe(true)
})

const notFound = () => problem(404, 'NOT_FOUND')

test.each([
  ['a post', POST],
  ['a profile', ME],
])('an edit of %s that was acknowledged and isn’t there is lost', async (_, path) => {
  const forgets = nth(2, 'PATCH', path)
  // After it nobody edits.
  const { report } = await load({ forgets: (sent) => forgets(sent), refuse: refuseEditsAfter(2, path) })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
})

/** Refuses what would write over the edit. */
function refuseEditsAfter(count: number, path: RegExp) {
  let edits = 0
  return ({ method, path: to }: Sent) =>
    method === 'PATCH' && path.test(to) && ++edits > count ? problem(422, 'INVALID') : null
}

test('a writer who reads less than he has written sees it during the run', async () => {
  const isStale = ({ path, token }: Sent) => token !== null && POST.test(path)
  const { report } = await load({ isStale })
  expect(report.sightings.stale).toBeGreaterThan(0)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^stale: GET p\d{8}: /)
})

test('a list of one’s own that is old is stale too', async () => {
  const { report } = await load({ isStale: ({ path, token }) => token !== null && path.endsWith('/posts') })
  expect(report.sightings.stale).toBeGreaterThan(0)
  expect(report.readBack).toMatchObject(whole)
})

test.each([
  ['a slow read', 'GET'],
  ['a slow edit', 'PATCH'],
])('%s may show what was there before, or what isn’t acknowledged yet', async (_, slow) => {
  const { report } = await load({ latencyMs: ({ method }) => (method === slow ? 800 : 1) }, { users: 8 })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0 })
  expect(report.sightings.own).toBeGreaterThan(20)
  expect(report.isSound).toBe(true)
})

test('a post that nobody wrote is unexpected', async () => {
  const time = new VirtualTime()
  const server = new MisbehavingServer(time)
  server.posts.push({ id: 'p99999999', author: 'load_test_1', texts: ['from elsewhere'] })
  const options = {
    url: 'http://localhost',
    rate: 5,
    durationMs: 2_000,
    users: 2,
    reads: 0.5,
    seed: 1,
    run: 'load_test',
  }
  const report = await time.until(runLoad({ ...options, fetch: server.fetch, clock: time }))
  expect(report.readBack).toMatchObject({ ...whole, unexpected: 1 })
  expect(report.isSound).toBe(false)
})

test('a write whose answer never came may be there or not', async () => {
  const lose = nth(9, 'POST', POSTS)
  const { report } = await load({ losesAnswer: lose })
  expect(report.writes).toMatchObject({ unknown: 1 })
  expect(report.readBack).toMatchObject(whole)
  // Somebody was there, and broke the connection each time.
  expect(report.isSound).toBe(false)
  const refuse = nth(9, 'POST', POSTS)
  const other = await load({ refuse: (sent) => (refuse(sent) ? new Response('gone', { status: 502 }) : null) })
  expect(other.report.writes).toMatchObject({ unknown: 1 })
  expect(other.report.readBack).toMatchObject(whole)
})

test('an edit whose answer never came may be there or not', async () => {
  for (const before of [{ losesAnswer: nth(5, 'PATCH', POST) }, { unreachable: breakOff(nth(5, 'PATCH', POST)) }]) {
    const { report } = await load(before)
    expect(report.writes).toMatchObject({ unknown: 1, refused: 0 })
    expect(report.readBack).toMatchObject(whole)
  }
})

const breakOff = (is: (sent: Sent) => boolean) => (sent: Sent) => (is(sent) ? 'ECONNRESET' : null)

test('what was edited with an uncertain outcome isn’t edited again for 40 s: the lost try may yet come', async () => {
  const lose = once(nth(3, 'PATCH', POST))
  const { server } = await load({ losesAnswer: lose })
  const edits = server.sent.filter(({ method, path }) => method === 'PATCH' && POST.test(path))
  const retried = edits.find(({ before }) => before > 0)!
  const later = edits.slice(edits.indexOf(retried) + 1).filter(({ path }) => path === retried.path)
  expect(later).toEqual([])
})

test('a refusal for good fails the run, and says why', async () => {
  const is = nth(9, 'POST', POSTS)
  const { report } = await load({ refuse: (sent) => (is(sent) ? problem(500, 'INTERNAL') : null) })
  expect(report.requests.failed).toBe(1)
  expect(report.failures).toEqual({ '500 INTERNAL': 1 })
  expect(report.isSound).toBe(false)
  expect(reportText(report)).toContain('  1 × 500 INTERNAL')
})

test('a server that goes away and comes back: its failures are counted, and excused', async () => {
  const time = new VirtualTime()
  const isAway = () => time.now() > 4_000 && time.now() < 30_000
  const server = new MisbehavingServer(time, { unreachable: () => (isAway() ? 'ECONNREFUSED' : null) })
  const options = {
    url: 'http://localhost',
    rate: 10,
    durationMs: 8_000,
    users: 9,
    reads: 0.5,
    seed: 1,
    run: 'load_test',
  }
  const report = await time.until(runLoad({ ...options, fetch: server.fetch, clock: time }))
  expect(report.failures).toEqual({ ECONNREFUSED: report.requests.failed })
  expect(report.requests.failed).toBeGreaterThan(20)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(true)
})

test('a server that doesn’t come back leaves all unread, soon, and that isn’t sound', async () => {
  const time = new VirtualTime()
  const server = new MisbehavingServer(time, { unreachable: () => (time.now() > 4_000 ? 'ECONNREFUSED' : null) })
  const options = {
    url: 'http://localhost',
    rate: 10,
    durationMs: 5_000,
    users: 4,
    reads: 0.5,
    seed: 1,
    run: 'load_test',
  }
  const report = await time.until(runLoad({ ...options, fetch: server.fetch, clock: time }))
  // Profiles and lists of four, and the posts.
  expect(report.readBack).toMatchObject({ ...whole, unread: report.readBack.posts + 8 })
  expect(report.isSound).toBe(false)
  expect(time.now()).toBeLessThan(180_000)
})

test('when it is told to end it reads back all the same', async () => {
  const stop = new AbortController()
  const ticks: Tick[] = []
  const onTick = (tick: Tick) => {
    ticks.push(tick)
    if (tick.seconds >= 3) stop.abort()
  }
  const { report } = await load({}, { until: stop.signal, onTick })
  expect(report.seconds).toBeCloseTo(3, 0)
  expect(report.readBack).toMatchObject(whole)
  expect(report.readBack.posts).toBeGreaterThan(10)
})

test('what keeps a load from beginning is said, with how to mend it', async () => {
  const away = load({ unreachable: () => 'ECONNREFUSED' })
  await expect(away).rejects.toThrow(UserError)
  await expect(away).rejects.toMatchObject({ fix: expect.stringContaining('npm run dev') })
  const unready = load({ refuse: () => new Response('shard-001 is not migrated', { status: 503 }) })
  await expect(unready).rejects.toMatchObject({ fix: 'shard-001 is not migrated' })
  const limited = problem(429, 'RATE_LIMITED', { 'retry-after': '60' })
  const refused = load({ refuse: ({ path }) => (path.endsWith('accounts') ? limited.clone() : null) })
  await expect(refused).rejects.toMatchObject({ fix: expect.stringContaining('RATE_LIMITS') })
})

test('of each fault some examples are named, each thing once, with what should be there', async () => {
  const isForgotten = ({ method, path }: Sent) => method === 'PATCH' && POST.test(path)
  const doubled = once(nth(9, 'POST', POSTS))
  const { report } = await load({ forgets: isForgotten, ignoresKeys: true, losesAnswer: doubled })
  expect(report.readBack.lost).toBeGreaterThan(5)
  const named = (fault: string) => report.examples.filter((example) => example.startsWith(`${fault}: `))
  expect(new Set(named('lost')).size).toBe(5)
  expect(named('lost')[0]).toMatch(/^lost: post p\d{8} has text \d+; acknowledged was text \d+$/)
  expect(named('doubled')).toHaveLength(1)
  expect(reportText(report)).toContain(named('doubled')[0])
})

test('a list that goes round and round ends, and what it shows twice is doubled', async () => {
  const { report } = await load({ isEndless: true })
  expect(report.readBack).toMatchObject({ ...whole, doubled: report.readBack.posts })
})
