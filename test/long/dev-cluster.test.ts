import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'
import { bearer } from '../support/http-client.ts'
import { servedBy } from '../support/web-servers.ts'

const START_MS = 60_000
const CHANGE_MS = 20_000

let folder: string
let child: ChildProcess | null = null
let output = ''

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-dev-cluster-'))
})
afterEach(() => {
  if (child && child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

function start(...args: string[]): void {
  output = ''
  child = spawn('npm', ['run', '--silent', 'dev:cluster', '--', '--persist-to', folder, ...args], {
    cwd: root,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += chunk))
}

const says = (text: RegExp, timeout = CHANGE_MS) => vi.waitFor(() => expect(output).toMatch(text), { timeout })

async function started(): Promise<URL> {
  await says(/The application +http:\/\/localhost:\d+\n/, START_MS)
  return new URL(/The application +(\S+)/.exec(output)![1]!)
}

/** Types a line into the running cluster. */
const type = (line: string) => child!.stdin!.write(`${line}\n`)

/** Presses Ctrl-C. */
async function interrupt(): Promise<void> {
  const ended = once(child!, 'exit')
  process.kill(-child!.pid!, 'SIGINT')
  await ended
}

/** The web servers that answer a few requests. */
async function servers(url: URL): Promise<string[]> {
  const answers = []
  for (let turn = 0; turn < 8; turn++) answers.push(await bearer(url).get('/healthz'))
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
  return [...new Set(answers.map(servedBy))].sort()
}

test('typed commands stop, start and add web servers; after Ctrl-C, the data is kept', async () => {
  start('--port', '0', '--instances', '2', '--shards', '1')
  const url = await started()
  const person = { email: 'ada@example.com', handle: 'ada', password: 'seven quiet herons' }
  expect((await bearer(url).post('/api/v1/accounts', person)).status).toBe(201)
  expect(await servers(url)).toEqual(['web-1', 'web-2'])

  type('stop 2 crash')
  await says(/web-2 {2}out/)
  expect(await servers(url)).toEqual(['web-1'])
  type('add')
  await says(/web-3 {2}joined/)
  expect(await servers(url)).toEqual(['web-1', 'web-3'])
  type('start 2')
  await says(/web-2 {2}back/)
  expect(await servers(url)).toEqual(['web-1', 'web-2', 'web-3'])
  type('stop 9')
  await says(/"stop" needs the number of a web server\.\nUse stop 1 to stop 3\./)
  type('status')
  await says(/^web-3 +in +none +\d+ +0$/m)
  await interrupt()
  await expect(fetch(url)).rejects.toThrow()

  start('--port', '0', '--shards', '1')
  const again = bearer(await started())
  expect((await again.post('/api/v1/sessions', { login: 'ada', password: person.password })).status).toBe(201)
  const ended = once(child!, 'exit')
  type('quit')
  expect(await ended).toEqual([0, null])
})

test('a port in use ends the command with the fix', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  try {
    start('--port', String(port))
    expect(await once(child!, 'exit')).toEqual([1, null])
    expect(output).toBe(
      `Port ${port} is in use, perhaps by npm run dev.\nUse a free one: npm run dev:cluster -- --port 0\n`,
    )
  } finally {
    other.close()
  }
})
