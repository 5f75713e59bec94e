import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { freePort } from '../../scripts/free-port.ts'
import { root } from '../../src/cli/shell/root.ts'
import { bearer, browser } from '../support/http-client.ts'
import { nounRoutes } from '../support/noun-routes.ts'

const START_MS = 60_000

let folder: string
let child: ChildProcess | null = null
let output = ''

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-dev-'))
})
afterEach(async () => {
  await stop()
  rmSync(folder, { recursive: true, force: true })
})

const inFolder = (name: string) => path.join(folder, name)

/** Starts a command in the project, as somebody whose home is an empty folder. */
function start(command: string, ...parameters: string[]): void {
  output = ''
  child = spawn(command, parameters, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH!,
      HOME: inFolder('home'),
      npm_config_cache: inFolder('npm-cache'), // npm's own notes about each run
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    },
  })
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += chunk))
}

async function stop(): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child!.once('exit', resolve))
  process.kill(-child.pid!, 'SIGTERM')
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 5_000))])
  child = null
}

/** The first answer, once there is a server. */
async function answerOf(url: URL) {
  for (const deadline = Date.now() + START_MS; Date.now() < deadline; ) {
    if (child!.exitCode !== null) break
    try {
      return await bearer(url).get('/readyz')
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  throw new Error(`nothing answers at ${url}:\n${output}`)
}

const filesIn = (name: string): string[] => {
  try {
    return readdirSync(inFolder(name), { recursive: true, encoding: 'utf8' })
  } catch {
    return []
  }
}

test('npm run dev serves one migrated shard, hands arguments on, and leaves the home folder empty', async () => {
  const port = await freePort()
  const url = new URL(`http://127.0.0.1:${port}`)
  const ours = ['--port', String(port), '--shards', '1', '--persist-to', inFolder('state')]
  start('npm', 'run', 'dev', '--', ...ours, '--var', 'PUBLIC_ORIGIN:https://handed-on.example')
  const ready = await answerOf(url)
  expect(ready.status, ready.text).toBe(200)
  expect(ready.text).toBe('ok   directory\nok   kv\nok   r2\nok   shard-000\n')

  const client = bearer(url)
  const person = { email: 'dev@example.com', handle: 'dev', password: 'seven quiet herons' }
  expect((await client.post('/api/v1/accounts', person)).status).toBe(201)
  expect((await client.request('PATCH', '/api/v1/me', { json: { bio: 'It runs.' } })).status).toBe(200)
  const page = await browser(url).get('/@dev')
  expect(page.text).toContain('It runs.')
  const mail = await expect
    .poll(() => /^Text: (.*\.txt)$/m.exec(output)?.[1], { timeout: 10_000 })
    .toMatch(/^.*email-text.*$/)
    .then(async () => (await import('node:fs')).readFileSync(/^Text: (.*\.txt)$/m.exec(output)![1]!, 'utf8'))
  expect(mail).toContain('https://handed-on.example/verify-email/')
  await stop()
  expect(filesIn('home')).toEqual([])
  expect(filesIn('state').length).toBeGreaterThan(0)
})

test('npm run dev -- --port 0 takes a free port, and prints it', async () => {
  start('npm', 'run', 'dev', '--', '--port', '0', '--shards', '1', '--persist-to', inFolder('state'))
  const port = await vi.waitFor(() => /The application +http:\/\/localhost:(\d+)/.exec(output)![1]!, {
    timeout: START_MS,
  })
  expect(Number(port)).toBeGreaterThan(0)
  expect((await answerOf(new URL(`http://127.0.0.1:${port}`))).status).toBe(200)
  expect(output).not.toContain('localhost:0')
})

test('an option that nobody knows ends npm run dev with a sentence', async () => {
  start('npm', 'run', 'dev', '--', '--prot', '1', '--shards', '1', '--persist-to', inFolder('state'))
  await vi.waitFor(() => expect(child!.exitCode).toBe(1), { timeout: START_MS, interval: 200 })
  expect(output).toContain('Unknown argument: prot')
  expect(output).not.toMatch(/^ {4}at /m)
})

test('wrangler dev without migrations says on every page what to run', async () => {
  const port = await freePort()
  const url = new URL(`http://127.0.0.1:${port}`)
  start('npx', 'wrangler', 'dev', '--port', String(port), '--persist-to', inFolder('state'))
  const ready = await answerOf(url)
  expect(ready.status).toBe(503)
  expect(ready.text).toContain('npm run banyan -- migrations apply')
  const visitor = browser(url)
  const pages = nounRoutes.filter(({ isApi, method }) => !isApi && method === 'GET')
  const nounPages = pages.map(({ pattern }) => pattern.replaceAll(/:\w+/g, 'x'))
  for (const path of [
    '/',
    '/signup',
    '/login',
    '/settings',
    '/@ada',
    ...nounPages,
    '/forgot-password',
    '/verify-email/x',
  ]) {
    const page = await visitor.get(path)
    expect([path, page.status, page.headers.get('content-type')]).toEqual([path, 503, 'text/html; charset=UTF-8'])
    expect(page.text).toContain('npm run banyan -- migrations apply')
    expect(page.text).not.toMatch(/\.tsx?:\d|node_modules| at \w+ \(/)
  }
  const answer = await bearer(url).get('/api/v1/users/ada')
  expect([answer.status, answer.json<{ code: string }>().code]).toEqual([503, 'MIGRATIONS_PENDING'])
})
