import { expect, test } from 'vitest'
import { Client } from '../../../../src/cli/load/client.ts'
import { type Faults, MisbehavingServer, problem } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

/** Sends one POST to a server with these faults. */
async function post(faults: Faults, method = 'POST') {
  const time = new VirtualTime()
  const server = new MisbehavingServer(time, faults)
  const counts = { retries: 0, recovered: 0 }
  const client = new Client(new URL('http://localhost'), {
    fetch: server.fetch,
    clock: time,
    random: () => 0.5,
    onRetry: () => counts.retries++,
    onRecovered: () => counts.recovered++,
  })
  client.token = 'me'
  const options = { json: { text: 'hello' }, ...(method === 'POST' ? { key: 'key-1' } : {}) }
  const path = method === 'POST' ? '/api/v1/posts' : '/api/v1/me'
  const { outcome, reason, tries, wasUncertain, isGone } = await time.until(client.request(method, path, options))
  return { ended: { outcome, reason, tries, wasUncertain, isGone }, counts, server, ms: time.now(), client, time }
}

const first = (sent: { before: number }) => sent.before === 0

test('an answer at once', async () => {
  const { ended, counts } = await post({})
  expect(ended).toEqual({ outcome: 'acknowledged', reason: '', tries: 1, wasUncertain: false, isGone: false })
  expect(counts).toEqual({ retries: 0, recovered: 0 })
})

test('a lost answer: the same key again, one effect, and it is counted as recovered', async () => {
  const { ended, counts, server } = await post({ losesAnswer: first })
  expect(ended).toEqual({ outcome: 'acknowledged', reason: 'ECONNRESET', tries: 2, wasUncertain: true, isGone: false })
  expect(counts).toEqual({ retries: 1, recovered: 1 })
  expect(server.sent.map(({ key }) => key)).toEqual(['key-1', 'key-1'])
  expect(server.posts).toHaveLength(1)
})

test.each([
  ['503 SLOT_FENCED', false, () => problem(503, 'SLOT_FENCED')],
  ['429 RATE_LIMITED', false, () => problem(429, 'RATE_LIMITED')],
  ['409 CONFLICT', false, () => problem(409, 'CONFLICT')],
  ['503 OUTCOME_UNKNOWN', true, () => problem(503, 'OUTCOME_UNKNOWN')],
  ['502', true, () => new Response('Bad gateway', { status: 502 })],
  ['503', true, () => new Response('Worker restarting', { status: 503 })],
])('%s is tried again; may have been applied: %s', async (reason, wasUncertain, refusal) => {
  const { ended, counts } = await post({ refuse: (sent) => (first(sent) ? refusal() : null) })
  expect(ended).toEqual({ outcome: 'acknowledged', reason, tries: 2, wasUncertain, isGone: false })
  expect(counts).toEqual({ retries: 1, recovered: 1 })
})

test.each([
  ['401 SESSION_ENDED', false, () => problem(401, 'SESSION_ENDED')],
  ['422 INVALID', false, () => problem(422, 'INVALID')],
  ['500 DATABASE_ERROR', true, () => problem(500, 'DATABASE_ERROR')],
])('%s is refused for good; may have been applied: %s', async (reason, wasUncertain, refusal) => {
  const { ended, counts } = await post({ refuse: refusal })
  expect(ended).toEqual({ outcome: 'refused', reason, tries: 1, wasUncertain, isGone: false })
  expect(counts).toEqual({ retries: 0, recovered: 0 })
})

test('what is refused for now all the time is given up within 15 s, as refused', async () => {
  const { ended, counts, ms } = await post({ refuse: () => problem(503, 'SLOT_FENCED') })
  expect(ended).toMatchObject({ outcome: 'refused', reason: '503 SLOT_FENCED', wasUncertain: false })
  expect(ms).toBeGreaterThan(12_000)
  expect(ms).toBeLessThan(15_000)
  expect(counts).toEqual({ retries: ended.tries - 1, recovered: 0 })
})

test('a refusal after a lost answer leaves the outcome unknown', async () => {
  const { ended } = await post({ losesAnswer: first, refuse: (sent) => (first(sent) ? null : problem(503, 'X')) })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: '503 X', wasUncertain: true, isGone: false })
})

test('Retry-After is waited for, and one that is too long gives up at once', async () => {
  const refuse = (seconds: string) => (sent: { before: number }) =>
    first(sent) ? problem(503, 'SLOT_FENCED', { 'retry-after': seconds }) : null
  const waited = await post({ refuse: refuse('5') })
  expect(waited.ended.outcome).toBe('acknowledged')
  expect(waited.ms).toBeGreaterThan(5_000)
  expect(waited.ms).toBeLessThan(5_200)
  expect((await post({ refuse: refuse('60') })).ended).toMatchObject({ outcome: 'refused', tries: 1 })
})

test('a server that is away is asked again, and nothing is uncertain: no request has left', async () => {
  const { ended, server } = await post({ unreachable: () => 'ECONNREFUSED' })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: 'ECONNREFUSED', wasUncertain: false, isGone: true })
  expect(server.sent.length).toBeGreaterThan(5)
})

test('an answer that takes longer than 10 s isn’t waited for, and the server counts as there', async () => {
  const { ended, ms } = await post({ latencyMs: () => 60_000 })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: 'no answer in 10 s', wasUncertain: true, isGone: false })
  expect(ms).toBeLessThan(25_000)
})

test('a PATCH is tried again without a key', async () => {
  const { ended, server } = await post({ losesAnswer: first }, 'PATCH')
  expect(ended).toMatchObject({ outcome: 'acknowledged', tries: 2, wasUncertain: true })
  expect(server.sent.map(({ key }) => key)).toEqual([null, null])
})

test('the newest causal token goes with the next request', async () => {
  const { client, server, time } = await post({})
  await time.until(client.request('GET', '/api/v1/users/me'))
  await time.until(client.request('GET', '/api/v1/users/me'))
  const [none, one, two] = server.sent.map(({ causalToken }) => causalToken)
  expect(none).toBeNull()
  expect(Number(two)).toBe(Number(one) + 1)
})

test('a bug isn’t taken for a broken connection', async () => {
  const faults = {
    refuse: () => {
      throw new TypeError('a bug')
    },
  }
  await expect(post(faults)).rejects.toThrow('a bug')
})
