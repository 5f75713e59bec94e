import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { addressOf as deployedAddressOf } from '../../../../src/cli/deploy/deployment.ts'
import type { Platform } from '../../../../src/cli/platform/api.ts'
import { addressOf, connect } from '../../../../src/cli/shell/client.ts'
import { AnswerLost, NotNow, UserError } from '../../../../src/cli/shell/errors.ts'
import { readConfig } from '../../../../src/cli/wrangler/config.ts'

type Turn = (request: IncomingMessage, response: ServerResponse) => void

let server: Server
let url: string
let turns: Turn[]
let asked: { method: string; key: string | undefined }[]
let pauses: number[]

/** Answers with its turns in order, and repeats the last one. */
beforeEach(async () => {
  ;[turns, asked, pauses] = [[], [], []]
  server = createServer((request, response) => {
    asked.push({ method: request.method!, key: request.headers['idempotency-key'] as string | undefined })
    const turn = turns.length > 1 ? turns.shift()! : turns[0]!
    request.resume().on('end', () => turn(request, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  vi.unstubAllEnvs()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const answer =
  (status: number, body: object, headers: Record<string, string> = {}): Turn =>
  (_, response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
const problem = (status: number, code: string, seconds?: number) =>
  answer(status, { code, detail: `about ${code}` }, seconds ? { 'retry-after': String(seconds) } : {})
/** Handles the request, and breaks the connection in the middle of the answer. */
const breaksOff: Turn = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
  response.write('{"it')
  setTimeout(() => response.destroy(), 10)
}
const html: Turn = (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
const gateway: Turn = (_, response) => void response.writeHead(502, { 'content-type': 'text/html' }).end('<html>')

const connection = () => connect({ url, token: 'a', pause: async (ms) => void pauses.push(ms) })
const failure = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('the call succeeded'),
    (error: unknown) => error as UserError,
  )

test('an answer that ends early counts as no answer, so a waiting caller may retry', async () => {
  turns = [breaksOff]
  const error = await failure(connection().get('/operator/v1/shards'))
  expect(error).toBeInstanceOf(NotNow)
  expect(error.message).toContain(`${url} does not answer`)
})

test('a page instead of the API is refused, and the fix names --url', async () => {
  turns = [html]
  for (const call of [connection().get('/a'), connection().post('/a')]) {
    const error = await failure(call)
    expect(error).toBeInstanceOf(UserError)
    expect(error).not.toBeInstanceOf(NotNow)
    expect(error.fix).toContain('Check --url')
  }
})

const losses: [string, Turn][] = [
  ['the connection breaks', breaksOff],
  ['the outcome is unknown to the server itself', problem(503, 'OUTCOME_UNKNOWN')],
  ['a gateway answers instead of the server', gateway],
]

test.each(losses)('%s: a POST is repeated with its key until it is answered', async (_, loses) => {
  turns = [loses, loses, answer(202, { moves: [] })]
  expect(await connection().post('/operator/v1/moves', { slots: '00ff' })).toEqual({ moves: [] })
  expect(asked).toHaveLength(3)
  expect(asked[0]!.key).toMatch(/^[0-9a-f-]{36}$/)
  expect(new Set(asked.map(({ key }) => key)).size).toBe(1)
})

test('each POST has its own key', async () => {
  turns = [answer(202, {})]
  const { post } = connection()
  await post('/a')
  await post('/a')
  expect(new Set(asked.map(({ key }) => key)).size).toBe(2)
})

test.each(losses)('%s five times: the error says that the operation may have completed', async (_, loses) => {
  turns = [loses]
  const error = await failure(connection().post('/operator/v1/moves'))
  expect(error).toBeInstanceOf(AnswerLost)
  expect(error.fix).toContain('The operation may still have completed.')
  expect(asked).toHaveLength(5)
  expect(pauses).toEqual([500, 1_000, 2_000, 4_000])
})

test('a restarting server refuses after a lost answer: the operation may still have completed', async () => {
  turns = [breaksOff, problem(503, 'SHARD_UNAVAILABLE', 2)]
  const error = await failure(connection().post('/operator/v1/moves'))
  expect(error).toBeInstanceOf(AnswerLost)
  expect(error.fix).toContain('The operation may still have completed.')
  expect(pauses).toEqual([500, 2_000, 2_000, 4_000])
})

test('a request that was never sent is not repeated, and certainly had no effect', async () => {
  const { post } = connection()
  await new Promise((resolve) => server.close(resolve))
  const error = await failure(post('/operator/v1/moves'))
  expect(error).toBeInstanceOf(NotNow)
  expect(error).not.toBeInstanceOf(AnswerLost)
  expect(error.message).toContain('ECONNREFUSED')
  expect(pauses).toEqual([])
  server.listen(0)
})

test('a PATCH is sent once', async () => {
  turns = [breaksOff]
  expect((await failure(connection().patch('/a', {}))).fix).toContain('The operation may still have completed.')
  expect(asked).toEqual([{ method: 'PATCH', key: undefined }])
})

test.each(['SHARD_FOREIGN', 'MIGRATIONS_PENDING', 'SETTING_MISSING'])('%s does not end by waiting', async (code) => {
  turns = [problem(503, code, 5)]
  for (const call of [connection().get('/a'), connection().post('/a')]) {
    const error = await failure(call)
    expect(error).not.toBeInstanceOf(NotNow)
    expect(error).toMatchObject({ code, fix: 'Waiting does not help. Fix the cause that the message names.' })
  }
  expect(asked).toHaveLength(2)
})

test('the fix names the time of a Retry-After', async () => {
  turns = [problem(503, 'DIRECTORY_UNAVAILABLE', 7)]
  expect(await failure(connection().get('/a'))).toMatchObject({
    code: 'DIRECTORY_UNAVAILABLE',
    fix: 'Try again in 7 s.',
    retryAfterMs: 7_000,
  })
})

test.each(['localhost:8787', 'a.example.com:8443', 'ftp://a.example', 'nothing', ''])(
  '--url "%s" is refused by every command',
  async (written) => {
    expect(() => addressOf({ url: written })).toThrow(`"${written}" is not an address.`)
    const config = readConfig('name = "a"')
    await expect(deployedAddressOf({} as Platform, config, written)).rejects.toThrow('is not an address.')
  },
)

test('an empty variable counts as unset', () => {
  vi.stubEnv('BANYAN_URL', '')
  vi.stubEnv('BANYAN_TOKEN', '')
  expect(addressOf({})).toBe('http://localhost:8787')
  expect(() => connect({ url: 'https://a.example' })).toThrow('No operators’ token is known for https://a.example.')
})
