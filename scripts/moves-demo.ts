/**
 * `npm run moves:demo [-- --start] [--url URL] [--moves 30] [--writers 4]`: moves slots back and forth with the
 * operators' command while writers post, on a running `npm run dev` (`--start` starts its own, in a temporary folder).
 * Prints how long writes waited, and reads back every acknowledged post. Exits 1 if a request failed or a post is
 * missing.
 */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { readAddress } from '../src/cli/shell/address.ts'
import { root } from '../src/cli/shell/root.ts'
import { bearer } from '../test/support/http-client.ts'
import { DevServer, sleep } from './dev-server.ts'
import { orExit, readOptions, wholeOption } from './options.ts'

const READERS = 8
const BETWEEN_MS = 300
const run = promisify(execFile)

const values = readOptions({
  url: { type: 'string', default: 'http://localhost:8787' },
  start: { type: 'boolean', default: false },
  moves: { type: 'string', default: '30' },
  writers: { type: 'string', default: '4' },
})
const movesWanted = wholeOption('--moves', values.moves, 1, 10_000)
const writerCount = wholeOption('--writers', values.writers, 1, 1_000)
const givenUrl = orExit(() => readAddress(values.url))

interface Span {
  from: number
  to: number
}

interface Move {
  state: string
  cutoverMs: number | null
}

const sent: Span[] = []
const failures: string[] = []
const posts = new Map<string, string>()
const cutovers: number[] = []
const moving: Span[] = []
let isOver = false

const server = values.start ? await DevServer.make() : null
const url = server?.url ?? givenUrl
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void cleanUp().then(() => process.exit(1)))

try {
  await server?.start()
  const writers = await Promise.all(Array.from({ length: writerCount }, signUp))
  const writing = writers.map(write)
  // Reads back the posts even if a move failed.
  const broken = await moveAbout(writers.map(({ slot }) => slot)).catch(reasonOf)
  isOver = true
  await Promise.all(writing)
  const lost = await readBack()
  report(lost)
  if (broken) console.log(`The moves ended early: ${broken}`)
  process.exitCode = broken || failures.length + lost > 0 ? 1 : 0
} finally {
  await cleanUp()
}

async function cleanUp(): Promise<void> {
  isOver = true
  await server?.remove()
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
    const from = performance.now()
    const text = `${slot}, number ${number}`
    const failure = await client
      .post('/api/v1/posts', { text }, { headers: { 'idempotency-key': text } })
      .then((answer) => {
        if (answer.status !== 201) return `${answer.status} ${answer.text}`
        posts.set(answer.json<{ post: { id: string } }>().post.id, text)
        return null
      }, reasonOf)
    sent.push({ from, to: performance.now() })
    if (failure === null) continue
    failures.push(failure)
    await sleep(100)
  }
}

/** Moves one slot after another, each to the shard that does not have it. */
async function moveAbout(slots: string[]): Promise<void> {
  const homes = new Map<string, string>()
  for (let number = 0; cutovers.length < movesWanted; number++) {
    const slot = slots[number % slots.length]!
    // In a fresh server's map, the first shard has the lower half of the slots.
    const home = homes.get(slot) ?? (slot < '8000' ? 'shard-000' : 'shard-001')
    const target = home === 'shard-000' ? 'shard-001' : 'shard-000'
    const moves = await move(slot, target)
    cutovers.push(...moves.map(({ cutoverMs }) => cutoverMs!))
    homes.set(slot, target)
    console.log(`${cutovers.length} of ${values.moves} moves, ${posts.size} posts, ${failures.length} failures`)
    await sleep(BETWEEN_MS)
  }
}

/** Retries while the slot still settles or the shard is purging. */
async function move(slot: string, target: string): Promise<Move[]> {
  for (;;) {
    const from = performance.now()
    try {
      const { moves } = await banyan<{ moves: Move[] }>('moves', 'start', slot, target)
      moving.push({ from, to: performance.now() })
      return moves
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

/** The number of acknowledged posts that are missing or changed. */
async function readBack(): Promise<number> {
  const reader = bearer(url)
  const waiting = [...posts]
  let lost = 0
  const read = async () => {
    for (let post = waiting.pop(); post; post = waiting.pop()) {
      const [id, text] = post
      const isThere = await reader.get(`/api/v1/posts/${id}`).then(
        (answer) => answer.status === 200 && answer.json<{ post: { text: string } }>().post.text === text,
        () => false,
      )
      if (!isThere) lost++
    }
  }
  await Promise.all(Array.from({ length: READERS }, read))
  return lost
}

function report(lost: number): void {
  const isDuring = ({ from, to }: Span) => moving.some((move) => from < move.to && move.from < to)
  const of = (during: boolean) => sent.filter((one) => isDuring(one) === during).map(({ from, to }) => to - from)
  console.log(`\n${cutovers.length} moves; ${sent.length} requests, ${failures.length} failed; ${lost} posts lost`)
  console.log(`write delay in a cutover: ${percentiles(cutovers)}`)
  console.log(`latency of a post during moves: ${percentiles(of(true))}; between moves: ${percentiles(of(false))}`)
  for (const failure of failures.slice(0, 5)) console.log(failure)
}

function percentiles(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
}

function reasonOf(error: Error & { stderr?: string; cause?: unknown }): string {
  return error.stderr || [error.message, error.cause].filter(Boolean).join(': ')
}
