/** Several web servers behind a balancer, for tests, and a steady load on them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { Balancer } from '../../scripts/cluster/balancer.ts'
import { Cluster } from '../../scripts/cluster/cluster.ts'
import type { Failure } from '../../scripts/cluster/instance.ts'
import { steadyLoad } from '../../scripts/cluster/steady-load.ts'
import { configFor } from '../../src/cli/wrangler/local-shards.ts'
import { type Answer, bearer, browser, type Client, type RequestOptions } from './http-client.ts'
import { OPERATOR_TOKEN, SIGNING_KEY } from './stack.ts'

const READY_MS = 30_000
const WAIT_MS = 60_000
// At 40 requests per second, a failing server gets up to 57 before it leaves. More would only wait for each other.
const IN_FLIGHT_MAX = 60
const REASON_CHARACTERS = 200
const LOAD_POST = 'under load '

interface Self {
  user: { handle: string }
}

export interface WebServers {
  cluster: Cluster
  balancer: Balancer
  /** The balancer's address. */
  url: URL
  /** What the balancer observed: `web-2 out`, and so on. */
  changes: string[]
  close(): Promise<void>
}

/** Starts `started` web servers, of which `webs` are behind the balancer. */
export async function startWebServers({ webs, started = webs }: { webs: number; started?: number }) {
  const cluster = await Cluster.start({
    configPath: configFor(null).configPath,
    persistTo: null,
    webs: started,
    vars: { SIGNING_KEY, OPERATOR_TOKEN, RATE_LIMITS: 'off', LEASE_MS: '30000', GRACE_MS: '300000' },
  })
  const changes: string[] = []
  const balancer = new Balancer({
    rule: { fall: 2, rise: 2 },
    checkEveryMs: 200,
    // All web servers share one thread of the machine that runs the tests.
    checkMs: 2_000,
    answerMs: 20_000,
    onChange: (name, change) => changes.push(`${name} ${change}`),
  })
  for (const instance of cluster.instances.slice(0, webs)) balancer.add(instance)
  const port = await balancer.listen(0)
  await balancer.ready(READY_MS)
  changes.length = 0
  return {
    cluster,
    balancer,
    url: new URL(`http://localhost:${port}`),
    changes,
    async close() {
      await balancer.close()
      await cluster.close()
    },
  } satisfies WebServers
}

export const servedBy = (answer: Answer): string => answer.headers.get('x-served-by') ?? 'none'

let people = 0

/** A new user, signed in as a client of this kind. @public For nouns. */
export async function signedUp(url: URL, kind: typeof browser | typeof bearer) {
  const client: Client = kind(url)
  const handle = `person_${++people}`
  const body = { email: `${handle}@example.com`, handle, password: 'seven quiet herons' }
  const answer = await client.post('/api/v1/accounts', body)
  if (answer.status !== 201) throw new Error(answer.text)
  return { client, handle, answer }
}

/** Sends a request, and once more with the same options if a gateway reports that a web server did not answer. */
async function sentTwiceAtMost(client: Client, method: string, path: string, options?: RequestOptions) {
  const first = await client.request(method, path, options)
  if (first.status !== 502 && first.status !== 504) return { answer: first, isRetried: false }
  await sleep(1_000 * Number(first.headers.get('retry-after')))
  return { answer: await client.request(method, path, options), isRetried: true }
}

interface LoadReport {
  requests: number
  users: { client: Client; handle: string }[]
  /** Requests that failed although they were sent again. */
  failed: string[]
  retriedReads: number
  retriedWrites: number
  /** The texts of all acknowledged posts. */
  acknowledged: string[]
  /** The requests of each web server, while the first three served them, and in the end, while all four did. */
  sharesBefore: Record<string, number>
  sharesAfter: Record<string, number>
}

/**
 * Sends `count` requests or more at a steady rate, two of five of them posts. While they run, web-2 fails, web-4 joins,
 * and web-2 returns.
 */
export async function loadDuringFailure(
  { cluster, balancer, url, changes }: WebServers,
  { count, rate, failure }: { count: number; rate: number; failure: Failure },
): Promise<LoadReport> {
  const users: LoadReport['users'] = []
  for (const kind of [browser, bearer, browser, bearer]) users.push(await signedUp(url, kind))
  const newest = new Map<Client, { id: string; text: string }>()
  const report: LoadReport = {
    requests: 0,
    users,
    failed: [],
    retriedReads: 0,
    retriedWrites: 0,
    acknowledged: [],
    sharesBefore: {},
    sharesAfter: {},
  }

  const fail = (what: string, { status, text }: Answer) =>
    void report.failed.push(`${what}: ${status} ${text.slice(0, REASON_CHARACTERS)}`)

  async function write(client: Client, text: string): Promise<void> {
    const options = { json: { text }, headers: { 'idempotency-key': text } }
    const { answer, isRetried } = await sentTwiceAtMost(client, 'POST', '/api/v1/posts', options)
    if (isRetried) report.retriedWrites++
    if (answer.status !== 201) return fail(text, answer)
    report.acknowledged.push(text)
    newest.set(client, answer.json<{ post: { id: string; text: string } }>().post)
  }

  async function read(client: Client, path: string, expected: string): Promise<void> {
    const { answer, isRetried } = await sentTwiceAtMost(client, 'GET', path)
    if (isRetried) report.retriedReads++
    if (answer.status !== 200 || !answer.text.includes(expected)) fail(path, answer)
  }

  async function request(number: number): Promise<void> {
    report.requests++
    const { client, handle } = users[number % users.length]!
    const post = newest.get(client)
    if (number % 5 < 2 || !post) return write(client, `${LOAD_POST}${number}`)
    if (number % 5 === 2) return read(client, `/api/v1/posts/${post.id}`, `"text":"${post.text}"`)
    if (number % 5 === 3) return read(client, `/api/v1/users/${handle}/posts?limit=1`, `"text":"${LOAD_POST}`)
    return read(client, '/api/v1/me', `"handle":"${handle}"`)
  }

  let isOver = false
  let started = 0
  const load = steadyLoad({
    rate,
    count: Number.POSITIVE_INFINITY,
    inFlightMax: IN_FLIGHT_MAX,
    isOver: () => isOver,
    request(number) {
      started = number + 1
      return request(number)
    },
  })
  const until = async (holds: () => boolean, what: string) => {
    for (const deadline = Date.now() + (1_000 * count) / rate + WAIT_MS; !holds(); await sleep(10))
      if (Date.now() > deadline) throw new Error(`waited without success: ${what}; ${changes.join(', ')}`)
  }
  const more = (requests: number) => {
    const goal = started + requests
    return until(() => started >= goal, `${requests} requests`)
  }
  const shares = async (requests: number) => {
    const before = balancer.status()
    await more(requests)
    return Object.fromEntries(balancer.status().map((one, index) => [one.name, one.requests - before[index]!.requests]))
  }

  try {
    report.sharesBefore = await shares(count / 4)
    cluster.instance(1).fail(failure)
    await until(() => changes.includes('web-2 out'), 'web-2 leaves')
    await more(count / 12)
    balancer.add(cluster.instance(3))
    await until(() => changes.includes('web-4 joined'), 'web-4 joins')
    await more(count / 12)
    await cluster.instance(1).start()
    await until(() => changes.includes('web-2 back'), 'web-2 returns')
    report.sharesAfter = await shares(Math.max(count / 4, count - started))
  } finally {
    isOver = true
    await load
  }
  return report
}

/**
 * Every request succeeded, each acknowledged post exists once and there is no other, sessions are valid at every web
 * server, and the web servers had even shares.
 */
export async function expectNoLoss(servers: WebServers, report: LoadReport): Promise<void> {
  expect(report.failed.slice(0, 5)).toEqual([])
  expect(servers.changes).toEqual(['web-2 out', 'web-4 joined', 'web-2 back'])

  const stored = (await storedPosts(servers.cluster)).filter((text) => text.startsWith(LOAD_POST))
  expect(stored.sort()).toEqual(report.acknowledged.toSorted())
  for (const { client, handle } of report.users) {
    const answers = new Map<string, string>()
    for (let turn = 0; turn < 4; turn++) {
      const answer = await client.get('/api/v1/me')
      answers.set(servedBy(answer), answer.status === 200 ? answer.json<Self>().user.handle : answer.text)
    }
    expect(Object.fromEntries(answers)).toEqual({ 'web-1': handle, 'web-2': handle, 'web-3': handle, 'web-4': handle })
  }

  expect(Object.keys(report.sharesBefore)).toEqual(['web-1', 'web-2', 'web-3'])
  expect(Object.keys(report.sharesAfter)).toEqual(['web-1', 'web-2', 'web-3', 'web-4'])
  for (const shares of [report.sharesBefore, report.sharesAfter].map(Object.values<number>)) {
    const even = shares.reduce((sum, share) => sum + share, 0) / shares.length
    expect(even).toBeGreaterThan(20)
    expect(Math.max(...shares.map((share) => Math.abs(share / even - 1)))).toBeLessThan(0.05)
  }
}

/** The texts of all stored posts. */
async function storedPosts(cluster: Cluster): Promise<string[]> {
  const databases = await cluster.databases()
  const found = [...databases.values()].map((database) =>
    database.prepare('SELECT text FROM posts').all<{ text: string }>(),
  )
  return (await Promise.all(found)).flatMap(({ results }) => results.map(({ text }) => text))
}
