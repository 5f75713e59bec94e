import { afterAll, beforeAll, expect, test } from 'vitest'
import { bearer, browser, type Client } from '../../support/http-client.ts'
import {
  expectNoLoss,
  loadDuringFailure,
  servedBy,
  signedUp,
  startWebServers,
  type WebServers,
} from '../../support/web-servers.ts'

let servers: WebServers
beforeAll(async () => {
  servers = await startWebServers({ webs: 3, started: 4 })
})
afterAll(() => servers?.close())

/** Sends a request to each of the three web servers: the balancer gives consecutive requests to different ones. */
async function fromEach(client: Client, method: string, path: string, json?: unknown) {
  const statuses = new Map<string, number>()
  for (let turn = 0; turn < 3; turn++) {
    const answer = await client.request(method, path, json === undefined ? {} : { json })
    statuses.set(servedBy(answer), answer.status)
  }
  return Object.fromEntries([...statuses].sort())
}

const each = (status: number) => ({ 'web-1': status, 'web-2': status, 'web-3': status })

test.each([
  ['cookie', browser],
  ['Bearer token', bearer],
] as const)('a session with a %s is created by one web server, valid at all, and ended at all', async (_, kind) => {
  const { client, handle, answer } = await signedUp(servers.url, kind)
  const posted = await client.post('/api/v1/posts', { text: 'through another server' })
  expect(posted.status, posted.text).toBe(201)
  const page = await client.get(`/@${handle}`)
  expect(page.text).toContain('through another server')
  expect(new Set([answer, posted, page].map(servedBy)).size).toBe(3)
  expect(await fromEach(client, 'POST', '/api/v1/posts', { text: 'a post' })).toEqual(each(201))

  expect(await fromEach(browser(servers.url), 'GET', `/@${handle}`)).toEqual(each(200))

  const other = kind(servers.url)
  const signedIn = await other.post('/api/v1/sessions', { login: handle, password: 'seven quiet herons' })
  expect(signedIn.status, signedIn.text).toBe(201)
  expect(await fromEach(other, 'PATCH', '/api/v1/me', { bio: 'Here too.' })).toEqual(each(200))
  expect((await other.request('DELETE', '/api/v1/sessions')).status).toBe(204)
  // Every web server has seen the ended session, and refuses its writes at once.
  expect(await fromEach(client, 'POST', '/api/v1/posts', { text: 'too late' })).toEqual(each(401))
  expect(await fromEach(other, 'GET', '/api/v1/me')).toEqual(each(200))
})

test('a draft that one web server stores is shown by all, also after its web server is lost', async () => {
  const { client, handle } = await signedUp(servers.url, browser)
  const stored = await client.request('POST', '/home/draft', { form: { text: `A draft of ${handle}.` } })
  expect(stored.status).toBe(303)
  const lost = servers.cluster.instances.find(({ name }) => name === servedBy(stored))!
  lost.fail('crash')
  const shownBy = new Set<string>()
  for (let turn = 0; turn < 3; turn++) {
    const home = await client.get('/home')
    expect(home.text).toContain(`>\nA draft of ${handle}.</textarea>`)
    shownBy.add(servedBy(home))
  }
  await lost.start()
  await servers.balancer.ready(10_000)
  servers.changes.length = 0
  expect(shownBy).toEqual(new Set(['web-1', 'web-2', 'web-3'].filter((name) => name !== lost.name)))
})

test('only the balancer reaches a web server', async () => {
  for (const { address } of servers.cluster.instances) {
    const guess = { 'x-cluster-key': 'a guess' }
    const answer = await fetch(`http://${address.host}:${address.port}/healthz`, { headers: guess })
    expect([answer.status, await answer.text()]).toEqual([421, expect.stringContaining('answers only its balancer')])
  }
})

// It takes 20 s, and longer only if the machine can't keep up with the rate.
const LOAD_MS = 180_000

test('600 requests while a server loses its answers, another joins, and the first returns: none fails', {
  timeout: LOAD_MS,
}, async () => {
  const report = await loadDuringFailure(servers, { count: 600, rate: 40, failure: 'mute' })
  expect(report.requests).toBeGreaterThanOrEqual(600)
  // Otherwise the failure has met no write, and the run shows nothing.
  expect(report.retriedWrites).toBeGreaterThan(0)
  await expectNoLoss(servers, report)
})
