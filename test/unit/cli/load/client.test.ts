import { expect, test } from 'vitest'
import { Client } from '../../../../src/cli/load/client.ts'
import { answered, type Faults, MisbehavingServer, problem, type Sent } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

/** Sends one request to a server with these faults. Default: a POST with a key. */
async function send(faults: Faults, method = 'POST') {
  const time = new VirtualTime()
  const effects: string[] = []
  const keep = ({ json }: Sent) => answered(201, { effects: effects.push(json.text ?? '') })
  const server = new MisbehavingServer(time, [keep], faults)
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
  const { outcome, reason, tries, wasUncertain, isGone } = await time.until(client.request(method, '/notes', options))
  const ended = { outcome, reason, tries, wasUncertain, isGone }
  return { ended, counts, effects, server, ms: time.now(), client, time }
}

const first = (sent: { before: number }) => sent.before === 0

test('an answer at once', async () => {
  const { ended, counts } = await send({})
  expect(ended).toEqual({ outcome: 'acknowledged', reason: '', tries: 1, wasUncertain: false, isGone: false })
  expect(counts).toEqual({ retries: 0, recovered: 0 })
})

test('after a lost answer, the same key is sent again, takes effect once and counts as recovered', async () => {
  const { ended, counts, effects, server } = await send({ losesAnswer: first })
  expect(ended).toEqual({ outcome: 'acknowledged', reason: 'ECONNRESET', tries: 2, wasUncertain: true, isGone: false })
  expect(counts).toEqual({ retries: 1, recovered: 1 })
  expect(server.sent.map(({ key }) => key)).toEqual(['key-1', 'key-1'])
  expect(effects).toEqual(['hello'])
})

test.each([
  ['503 SLOT_FENCED', false, () => problem(503, 'SLOT_FENCED')],
  ['429 RATE_LIMITED', false, () => problem(429, 'RATE_LIMITED')],
  ['409 CONFLICT', false, () => problem(409, 'CONFLICT')],
  ['503 OUTCOME_UNKNOWN', true, () => problem(503, 'OUTCOME_UNKNOWN')],
  ['502', true, () => new Response('Bad gateway', { status: 502 })],
  ['503', true, () => new Response('Worker restarting', { status: 503 })],
])('%s is retried; may have been applied: %s', async (reason, wasUncertain, refusal) => {
  const { ended, counts } = await send({ refuse: (sent) => (first(sent) ? refusal() : null) })
  expect(ended).toEqual({ outcome: 'acknowledged', reason, tries: 2, wasUncertain, isGone: false })
  expect(counts).toEqual({ retries: 1, recovered: 1 })
})

test.each([
  ['401 SESSION_ENDED', false, () => problem(401, 'SESSION_ENDED')],
  ['422 INVALID', false, () => problem(422, 'INVALID')],
  ['500 DATABASE_ERROR', true, () => problem(500, 'DATABASE_ERROR')],
])('%s is refused permanently; may have been applied: %s', async (reason, wasUncertain, refusal) => {
  const { ended, counts } = await send({ refuse: refusal })
  expect(ended).toEqual({ outcome: 'refused', reason, tries: 1, wasUncertain, isGone: false })
  expect(counts).toEqual({ retries: 0, recovered: 0 })
})

test('a request that is always refused temporarily ends within 15 s as refused', async () => {
  const { ended, counts, ms } = await send({ refuse: () => problem(503, 'SLOT_FENCED') })
  expect(ended).toMatchObject({ outcome: 'refused', reason: '503 SLOT_FENCED', wasUncertain: false })
  expect(ms).toBeGreaterThan(12_000)
  expect(ms).toBeLessThan(15_000)
  expect(counts).toEqual({ retries: ended.tries - 1, recovered: 0 })
})

test('a refusal after a lost answer leaves the outcome unknown', async () => {
  const { ended } = await send({ losesAnswer: first, refuse: (sent) => (first(sent) ? null : problem(503, 'X')) })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: '503 X', wasUncertain: true, isGone: false })
})

test('the client waits for Retry-After, and gives up at once if it is too long', async () => {
  const refuse = (seconds: string) => (sent: { before: number }) =>
    first(sent) ? problem(503, 'SLOT_FENCED', { 'retry-after': seconds }) : null
  const waited = await send({ refuse: refuse('5') })
  expect(waited.ended.outcome).toBe('acknowledged')
  expect(waited.ms).toBeGreaterThan(5_000)
  expect(waited.ms).toBeLessThan(5_200)
  expect((await send({ refuse: refuse('60') })).ended).toMatchObject({ outcome: 'refused', tries: 1 })
})

test('an unreachable server is retried, and nothing is uncertain because no request was sent', async () => {
  const { ended, server } = await send({ unreachable: () => 'ECONNREFUSED' })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: 'ECONNREFUSED', wasUncertain: false, isGone: true })
  expect(server.sent.length).toBeGreaterThan(5)
})

test('the client does not wait for an answer longer than 10 s, and the server counts as reachable', async () => {
  const { ended, ms } = await send({ latencyMs: () => 60_000 })
  expect(ended).toMatchObject({ outcome: 'unknown', reason: 'no answer in 10 s', wasUncertain: true, isGone: false })
  expect(ms).toBeLessThan(25_000)
})

test('a PATCH is retried without a key', async () => {
  const { ended, server } = await send({ losesAnswer: first }, 'PATCH')
  expect(ended).toMatchObject({ outcome: 'acknowledged', tries: 2, wasUncertain: true })
  expect(server.sent.map(({ key }) => key)).toEqual([null, null])
})

test('the next request carries the newest causal token', async () => {
  const { client, server, time } = await send({})
  await time.until(client.request('GET', '/notes'))
  await time.until(client.request('GET', '/notes'))
  const [none, one, two] = server.sent.map(({ causalToken }) => causalToken)
  expect(none).toBeNull()
  expect(Number(two)).toBe(Number(one) + 1)
})

test('a bug is not mistaken for a broken connection', async () => {
  const faults = {
    refuse: () => {
      throw new TypeError('a bug')
    },
  }
  await expect(send(faults)).rejects.toThrow('a bug')
})
