/**
 * `npm run moves:demo [-- --start] [--url URL] [--moves 30] [--writers 4]`: moves slots back and forth by the operators'
 * command while writers post, on a running `npm run dev` (`--start` starts one of its own, in a temporary folder). Prints
 * how long writes waited, and reads every acknowledged post back. Exits 1 where a request failed or a post is missing.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { bearer } from '../test/support/http-client.ts'
import { freePort } from './free-port.ts'
import { root } from './local-shards.ts'

const START_MS = 90_000
const READERS = 8
const run = promisify(execFile)

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://localhost:8787' },
    start: { type: 'boolean', default: false },
    moves: { type: 'string', default: '30' },
    writers: { type: 'string', default: '4' },
  },
})

interface Sent {
  ms: number
  isDuringMove: boolean
}

interface Move {
  state: string
  cutoverMs: number | null
}

const folder = values.start ? mkdtempSync(path.join(tmpdir(), 'banyan-moves-')) : null
const server = folder ? await startServer(folder) : null
const url = new URL(server?.url ?? values.url)
const sent: Sent[] = []
const failures: string[] = []
const posts = new Map<string, string>()
let isMoving = false
let isOver = false

try {
  const writers = await Promise.all(Array.from({ length: Number(values.writers) }, signUp))
  const writing = writers.map(write)
  const cutovers = await moveAbout(writers.map(({ slot }) => slot))
  isOver = true
  await Promise.all(writing)
  const lost = await readBack()
  report(cutovers, lost)
  process.exitCode = failures.length + lost === 0 ? 0 : 1
} finally {
  if (server) stop(server.child)
  if (folder) rmSync(folder, { recursive: true, force: true })
}

async function startServer(persistTo: string): Promise<{ child: ChildProcess; url: string }> {
  const port = await freePort()
  const address = `http://localhost:${port}`
  const child = spawn('npm', ['run', '--silent', 'dev', '--', '--port', String(port), '--persist-to', persistTo], {
    cwd: root,
    detached: true,
    stdio: 'ignore',
  })
  for (const deadline = Date.now() + START_MS; ; await sleep(250)) {
    const isReady = await fetch(`${address}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isReady) return { child, url: address }
    if (Date.now() > deadline) throw new Error(`${address} did not start in ${START_MS} ms`)
  }
}

function stop(child: ChildProcess): void {
  if (child.pid) process.kill(-child.pid, 'SIGTERM')
}

async function signUp(_: unknown, number: number) {
  const client = bearer(url)
  const handle = `mover_${Date.now().toString(36)}_${number}`
  const person = { email: `${handle}@example.com`, handle, password: 'seven quiet herons' }
  const answer = await client.post('/api/v1/accounts', person)
  if (answer.status !== 201) throw new Error(`sign-up answered ${answer.status}: ${answer.text}`)
  return { client, slot: answer.json<{ user: { id: string } }>().user.id.slice(0, 4) }
}

async function write({ client, slot }: Awaited<ReturnType<typeof signUp>>): Promise<void> {
  for (let number = 0; !isOver; number++) {
    const wasMoving = isMoving
    const startedAt = performance.now()
    const text = `${slot}, number ${number}`
    const answer = await client.post('/api/v1/posts', { text }, { headers: { 'idempotency-key': text } })
    sent.push({ ms: performance.now() - startedAt, isDuringMove: wasMoving && isMoving })
    if (answer.status === 201) posts.set(answer.json<{ post: { id: string } }>().post.id, text)
    else failures.push(`${answer.status} ${answer.text}`)
  }
}

/** One move after the other, slot by slot, each to the shard that doesn't have it. */
async function moveAbout(slots: string[]): Promise<number[]> {
  const cutovers: number[] = []
  const homes = new Map<string, string>()
  for (let number = 0; cutovers.length < Number(values.moves); number++) {
    const slot = slots[number % slots.length]!
    // A fresh server's map: the lower half of the slots is the first shard's.
    const home = homes.get(slot) ?? (slot < '8000' ? 'shard-000' : 'shard-001')
    const target = home === 'shard-000' ? 'shard-001' : 'shard-000'
    isMoving = true
    const moves = await move(slot, target)
    isMoving = false
    cutovers.push(...moves.map(({ cutoverMs }) => cutoverMs!))
    homes.set(slot, target)
    console.log(`${cutovers.length} of ${values.moves} moves, ${posts.size} posts, ${failures.length} failures`)
    await sleep(300)
  }
  return cutovers
}

/** A slot that still settles, or a shard that is purging, is waited for. */
async function move(slot: string, target: string): Promise<Move[]> {
  for (;;) {
    try {
      return (await banyan<{ moves: Move[] }>('moves', 'start', slot, target)).moves
    } catch (error) {
      if (!/SLOTS_IN_MOVE|SHARD_IN_MOVE/.test(String((error as { stderr?: string }).stderr))) throw error
      await sleep(500)
    }
  }
}

async function banyan<T>(...args: string[]): Promise<T> {
  const command = [path.join(root, 'src/cli/main.ts'), ...args, '--json', '--url', url.origin]
  const { stdout } = await run(process.execPath, command, { cwd: root, maxBuffer: 1e8 })
  return JSON.parse(stdout) as T
}

async function readBack(): Promise<number> {
  const reader = bearer(url)
  const waiting = [...posts]
  let lost = 0
  const read = async () => {
    for (let post = waiting.pop(); post; post = waiting.pop()) {
      const answer = await reader.get(`/api/v1/posts/${post[0]}`)
      if (answer.status !== 200 || answer.json<{ post: { text: string } }>().post.text !== post[1]) lost++
    }
  }
  await Promise.all(Array.from({ length: READERS }, read))
  return lost
}

function report(cutovers: number[], lost: number): void {
  const of = (during: boolean) => sent.filter(({ isDuringMove }) => isDuringMove === during).map(({ ms }) => ms)
  console.log(`\n${cutovers.length} moves; ${sent.length} requests, ${failures.length} failed; ${lost} posts lost`)
  console.log(`writes waited in a cutover: ${percentiles(cutovers)}`)
  console.log(`a post during moves: ${percentiles(of(true))}; between moves: ${percentiles(of(false))}`)
  for (const failure of failures.slice(0, 5)) console.log(failure)
}

function percentiles(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
