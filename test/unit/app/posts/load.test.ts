import { expect, test } from 'vitest'
import { operator as posts } from '../../../../src/app/posts/load.operator.ts'
import { operator as profiles } from '../../../../src/app/profiles/load.operator.ts'
import { reportText } from '../../../../src/cli/load/report.ts'
import { nth, once, runOn, type Setting, whole } from '../../../support/load-run.ts'
import { answered, type Faults, notFound, problem, type Route, type Sent } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'
import { type Mistakes, PostsDouble } from './posts-double.ts'

/** Ten seconds of load at 20 requests per second, half of them writes, on a server with these faults and mistakes. */
async function load(faults: Faults = {}, mistakes: Mistakes = {}, options: Partial<Setting> = {}) {
  const double = new PostsDouble(mistakes)
  return { ...(await runOn({ routes: [double.route], faults, nouns: [posts], ...options })), double }
}

const POSTS = /^\/api\/v1\/posts$/
const POST = /^\/api\/v1\/posts\/\w+$/

test('a correct server passes', async () => {
  const { report, server, double } = await load()
  expect(report.isSound).toBe(true)
  expect(report.kinds.map(({ kind }) => kind)).toEqual(['read post', 'list posts', 'write post', 'edit post', 'all'])
  expect(report.kinds.map(({ n }) => n)).not.toContain(0)
  // Without the four sign-ups and four first posts.
  const writes = server.sent.filter(({ method }) => method !== 'GET').length - 8
  expect(report.writes).toEqual({ acknowledged: writes, refused: 0, unknown: 0 })
  expect(writes).toBeGreaterThan(80)
  expect(report.readBack).toEqual({ posts: double.posts.length, late: 0, ...whole })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0, notYetSeen: 0 })
  expect(report.sightings.own).toBeGreaterThan(20)
})

test('with profiles, requests have the documented shares and their order in the report', async () => {
  const profile: Route = ({ path }) =>
    path === '/api/v1/me' || /^\/api\/v1\/users\/\w+$/.test(path) ? answered(200, { user: { bio: '' } }) : null
  const settings = { nouns: [posts, profiles], durationMs: 300_000, users: 20 }
  const double = new PostsDouble()
  const { report, server } = await runOn({ routes: [double.route, profile], ...settings })
  const reads = { 'read post': 0.75, 'read profile': 0.15, 'list posts': 0.1 }
  const writes = { 'write post': 0.5, 'edit post': 0.4, 'edit profile': 0.1 }
  expect(report.kinds.map(({ kind }) => kind)).toEqual([...Object.keys(reads), ...Object.keys(writes), 'all'])
  for (const shares of [reads, writes]) {
    const all = report.kinds.filter(({ kind }) => kind in shares).reduce((sum, { n }) => sum + n, 0)
    expect(all).toBeGreaterThan(2_800)
    for (const [kind, share] of Object.entries(shares)) {
      const n = report.kinds.find((one) => one.kind === kind)?.n ?? 0
      // ± 4 standard deviations of a binomial count.
      expect(Math.abs(n - all * share), kind).toBeLessThan(4 * Math.sqrt(all * share * (1 - share)))
    }
  }
  // 15 % of the reads are of the reader's own newest post, and Zipf's law draws some more of them.
  const newest = new Map<string, string>()
  let own = 0
  let all = 0
  for (const { method, path, token, json } of server.sent) {
    if (!token) continue
    if (method === 'POST' && POSTS.test(path))
      newest.set(token, double.posts.find(({ texts }) => texts[0] === json.text)?.id ?? '')
    if (method !== 'GET') continue
    all++
    if (path === `/api/v1/posts/${newest.get(token)}`) own++
  }
  expect(own / all).toBeGreaterThan(0.13)
  expect(own / all).toBeLessThan(0.19)
  expect(reportText(report)).toMatch(/^read back {2}\d[\d,]* posts, 20 profiles: /m)
})

test('every POST has its own key', async () => {
  const { server } = await load()
  const keys = server.sent.filter(({ method }) => method === 'POST').map(({ key }) => key)
  expect(keys).not.toContain(null)
  expect(new Set(keys).size).toBe(keys.length)
})

test('lost answers are recovered with the same key, without duplicates', async () => {
  const { report } = await load({ losesAnswer: ({ method, before }) => method === 'POST' && before === 0 })
  const writes = report.kinds.find(({ kind }) => kind === 'write post')?.n ?? 0
  // Including four sign-ups and four first posts.
  expect(report.requests).toMatchObject({ retries: writes + 8, recovered: writes + 8, failed: 0 })
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(true)
})

test('without keys, a lost answer doubles a post, and the oracle names it', async () => {
  const { report } = await load({ ignoresKeys: true, losesAnswer: once(nth(9, 'POST', POSTS)) })
  expect(report.readBack).toMatchObject({ ...whole, doubled: 1 })
  expect(report.isSound).toBe(false)
  expect(report.examples).toEqual([expect.stringMatching(/^doubled: text \d+: there as p\d{8} too$/)])
})

test('an acknowledged post that is missing is lost', async () => {
  const { report, seconds } = await load({}, { forgets: nth(9, 'POST', POSTS) })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
  expect(report.isSound).toBe(false)
  const lost = report.examples.find((example) => example.startsWith('lost: '))
  expect(lost).toMatch(/^lost: post p\d{8} \(text \d+\): not (found|in load_test_\d’s list)$/)
  // It is read again for as long as a reader without a token may see an older state.
  expect(seconds).toBeGreaterThan(85)
})

test('another user’s post may be missing for the time of a lease after its acknowledgement, and no longer', async () => {
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
  // There are no writes after the first posts. An own post that is missing is stale at once.
  const options = { time, rate: 2, users: 3, reads: 1, durationMs: 60_000 }
  const { report: young } = await load({ refuse }, {}, options)
  expect(readAt - postedAt).toBeGreaterThan(30_000)
  expect(young.sightings.notYetSeen).toBeGreaterThan(5)
  expect(young.sightings.overdue).toBe(0)
  untilMs = Number.POSITIVE_INFINITY
  const { report: old } = await load({ refuse }, {}, { ...options, run: 'load_u' })
  expect(old.sightings.overdue).toBeGreaterThan(5)
  expect(old.isSound).toBe(false)
  expect(old.readBack).toMatchObject(whole)
  expect(reportText(old)).toMatch(/others’ {4}\d+ not yet seen, \d+ overdue/)
})

test.each<[string, Faults, Mistakes]>([
  [
    'that a reader without a token does not find',
    { refuse: ({ path, token }) => (!token && path.endsWith('p00000007') ? notFound() : null) },
    {},
  ],
  ['that its author’s list omits', {}, { isUnlisted: (id) => id === 'p00000007' }],
])('a post %s is lost', async (_, faults, mistakes) => {
  const { report } = await load(faults, mistakes)
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
  expect(report.examples.some((example) => example.startsWith('lost: post p00000007 '))).toBe(true)
})

test('an acknowledged edit that is missing is lost', async () => {
  let edits = 0
  // It is the last edit.
  const refuse = ({ method }: Sent) => (method === 'PATCH' && ++edits > 2 ? problem(422, 'INVALID') : null)
  const { report } = await load({ refuse }, { forgets: nth(2, 'PATCH', POST) })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
})

test('an edit that an author’s list does not show to readers without a token is lost', async () => {
  const { report } = await load({}, { isStale: ({ path, token }) => !token && /\/posts\?/.test(path) })
  expect(report.readBack).toMatchObject({ ...whole, lost: expect.toSatisfy((count: number) => count > 3) })
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^lost: post p\d{8} has text \d+; acknowledged was text \d+$/)
})

test('a writer’s read of an older text than the acknowledged one is stale', async () => {
  const { report } = await load({}, { isStale: ({ path, token }) => token !== null && POST.test(path) })
  expect(report.sightings.stale).toBeGreaterThan(0)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^stale: GET p\d{8}: /)
})

test('an old list of the reader’s own posts is stale too', async () => {
  const { report } = await load({}, { isStale: ({ path, token }) => token !== null && path.endsWith('/posts') })
  expect(report.sightings.stale).toBeGreaterThan(0)
  expect(report.readBack).toMatchObject(whole)
})

test.each([
  ['a slow read', 'GET'],
  ['a slow edit', 'PATCH'],
])('%s may show the previous text, or one that is not acknowledged yet', async (_, slow) => {
  const { report } = await load({ latencyMs: ({ method }) => (method === slow ? 800 : 1) }, {}, { users: 8 })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0 })
  expect(report.sightings.own).toBeGreaterThan(20)
  expect(report.isSound).toBe(true)
})

test('a post that was never sent is unexpected', async () => {
  const double = new PostsDouble()
  double.posts.push({ id: 'p99999999', author: 'load_test_1', texts: ['from elsewhere'] })
  const { report } = await runOn({ routes: [double.route], nouns: [posts], rate: 5, durationMs: 2_000, users: 2 })
  expect(report.readBack).toMatchObject({ ...whole, unexpected: 1 })
  expect(report.isSound).toBe(false)
})

test('a text that was never sent in another user’s post is unexpected during the run', async () => {
  const foreign = ({ method, path, token }: Sent) => method === 'GET' && token !== null && POST.test(path)
  const answer = () => answered(200, { post: { id: 'p00000001', text: 'from elsewhere' } })
  const { report } = await load({ refuse: (sent) => (foreign(sent) ? answer() : null) })
  expect(report.sightings.unexpected).toBeGreaterThan(5)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(false)
})

test('answers without a post or without a list are reported as unexpected', async () => {
  const empty = (is: (sent: Sent) => boolean) => (sent: Sent) => (is(sent) ? answered(200, {}) : null)
  const unnamed = await load({ refuse: empty(nth(9, 'POST', POSTS)) })
  expect(unnamed.report.sightings.unexpected).toBe(1)
  expect(unnamed.report.examples).toEqual([expect.stringMatching(/^unexpected: POST \d+: no post in the answer$/)])
  const unlisted = await load({
    refuse: empty(({ token, path }) => token !== null && /\/posts$/.test(path) && !POSTS.test(path)),
  })
  expect(unlisted.report.sightings.unexpected).toBeGreaterThan(0)
  expect(unlisted.report.examples[0]).toMatch(/^unexpected: GET load_test_\d\/posts: no list in the answer$/)
})

test('a post without an answer may exist or not', async () => {
  const { report } = await load({ losesAnswer: nth(9, 'POST', POSTS) })
  expect(report.writes).toMatchObject({ unknown: 1 })
  expect(report.readBack).toMatchObject(whole)
  // The server answered, and broke the connection each time.
  expect(report.isSound).toBe(false)
  const refuse = nth(9, 'POST', POSTS)
  const other = await load({ refuse: (sent) => (refuse(sent) ? new Response('gone', { status: 502 }) : null) })
  expect(other.report.writes).toMatchObject({ unknown: 1 })
  expect(other.report.readBack).toMatchObject(whole)
})

const breakOff = (is: (sent: Sent) => boolean) => (sent: Sent) => (is(sent) ? 'ECONNRESET' : null)

test('an edit without an answer may exist or not', async () => {
  for (const faults of [{ losesAnswer: nth(5, 'PATCH', POST) }, { unreachable: breakOff(nth(5, 'PATCH', POST)) }]) {
    const { report } = await load(faults)
    expect(report.writes).toMatchObject({ unknown: 1, refused: 0 })
    expect(report.readBack).toMatchObject(whole)
  }
})

test('a post with an uncertain edit is not edited for 40 s, because the lost attempt may still take effect', async () => {
  const { server } = await load({ losesAnswer: once(nth(3, 'PATCH', POST)) })
  const edits = server.sent.filter(({ method }) => method === 'PATCH')
  const retried = edits.find(({ before }) => before > 0)
  expect(retried).toBeDefined()
  const later = edits.slice(edits.findIndex(({ before }) => before > 0) + 1)
  expect(later.filter(({ path }) => path === retried?.path)).toEqual([])
})

test('a server that stays unreachable leaves all unread', async () => {
  const time = new VirtualTime()
  const unreachable = () => (time.now() > 4_000 ? 'ECONNREFUSED' : null)
  const { report } = await load({ unreachable }, {}, { time, rate: 10, durationMs: 5_000 })
  // The posts, and the lists of four users.
  expect(report.readBack).toMatchObject({ ...whole, unread: (report.readBack.posts ?? 0) + 4 })
  expect(report.isSound).toBe(false)
})

test('each fault has up to five examples, with each thing once and its expected text', async () => {
  const forgets = ({ method, path }: Sent) => method === 'PATCH' && POST.test(path)
  const { report } = await load({ ignoresKeys: true, losesAnswer: once(nth(9, 'POST', POSTS)) }, { forgets })
  expect(report.readBack.lost).toBeGreaterThan(5)
  const named = (fault: string) => report.examples.filter((example) => example.startsWith(`${fault}: `))
  expect(new Set(named('lost')).size).toBe(5)
  expect(named('lost')[0]).toMatch(/^lost: post p\d{8} has text \d+; acknowledged was text \d+$/)
  expect(named('doubled')).toHaveLength(1)
  expect(reportText(report)).toContain(named('doubled')[0])
})

test('reading an endless list ends, and posts that it shows twice are doubled', async () => {
  const { report } = await load({}, { isEndless: true })
  expect(report.readBack).toMatchObject({ ...whole, doubled: report.readBack.posts })
})
