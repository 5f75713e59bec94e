/**
 * `npm run demo`: adds two shards to a Banyan of two shards under load, rebalances the slots, and kills the runtime in
 * the middle. No acknowledged write may be lost or doubled. Takes one minute, or two on a busy machine, with its own
 * dev server in a temporary folder. Writes a page (dist/demo.html) and prints a summary; exits 1 if a write was lost.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Tick } from '../src/cli/load/figures.ts'
import { openMoves } from '../src/cli/load/leases.ts'
import { type LoadReport, reportText } from '../src/cli/load/report.ts'
import { runLoad } from '../src/cli/load/run.ts'
import { connect } from '../src/cli/shell/client.ts'
import { root } from '../src/cli/shell/root.ts'
import { localShards, withShards } from '../src/cli/wrangler/shard-bindings.ts'
import type { Move } from '../src/console/shapes.ts'
import { type DemoMark, type DemoShard, demoPage } from './demo-page.ts'
import { DevServer, sleep } from './dev-server.ts'
import { ensureDevVars } from './dev-vars.ts'

const USERS = 16
const RATE = 12
const READS = 0.5
const BEFORE_MS = 8_000
const AFTER_MS = 6_000
const SAY_EVERY_SECONDS = 4
const configPath = path.join(root, 'wrangler.shards-demo.toml')
const page = path.join(root, 'dist/demo.html')

const token = ensureDevVars(root).OPERATOR_TOKEN!
writeFileSync(configPath, withShards(readFileSync(path.join(root, 'wrangler.toml'), 'utf8'), localShards(0, 2)))
const server = await DevServer.make('--config', configPath)
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void cleanUp().then(() => process.exit(1)))

const ticks: Tick[] = []
const marks: DemoMark[] = []
const startedAt = performance.now()

try {
  step('Two shards.')
  await server.start()
  const before = await shards()
  step(`${USERS} users sign up. They read and write ${RATE} times per second.`)
  const stop = new AbortController()
  const load = runLoad({
    url: server.url,
    rate: RATE,
    until: stop.signal,
    users: USERS,
    reads: READS,
    seed: 1,
    findMoves: openMoves(() => connect({ url: server.url.origin, token })),
    onTick: sayTick,
  })
  // A failure of the load is handled when it is awaited at the end.
  load.catch(() => undefined)
  while (ticks.length === 0) await Promise.race([sleep(100), load])
  await sleep(BEFORE_MS)

  step('The demo adds two shards while the load continues.')
  mark('two shards added')
  await banyan('shards', 'add', '--count', '2', '--config', configPath, '--persist-to', server.folder)
  step('The demo rebalances the slots. In the middle it kills and restarts the runtime.')
  mark('rebalance')
  const rebalanced = banyan('rebalance')
  rebalanced.catch(() => undefined)
  await isUnderWay()
  mark('killed')
  console.log('  kill -9')
  await server.kill()
  await server.start()
  mark('restarted')
  console.log('  The runtime restarts with its stored data.')
  await rebalanced
  mark('balanced')
  await sleep(AFTER_MS)

  step('The load ends. Other clients read back every acknowledged write.')
  stop.abort()
  const report = await load
  const after = await shards()
  const moves = await allMoves()
  mkdirSync(path.dirname(page), { recursive: true })
  writeFileSync(page, demoPage({ before, after, ticks, marks, moves, report }))
  end(report, after, moves)
} finally {
  await cleanUp()
}

function end(report: LoadReport, after: DemoShard[], moves: Move[]): void {
  const { acknowledged } = report.writes
  const { lost, doubled } = report.readBack
  const slots = after.map((shard) => shard.slots)
  const isEven = after.length === 4 && Math.max(...slots) - Math.min(...slots) <= 1
  const cutovers = moves.map(({ cutoverMs }) => cutoverMs ?? 0).toSorted((a, b) => a - b)
  const p99 = cutovers[Math.ceil(cutovers.length * 0.99) - 1]
  console.log(`\n${reportText(report)}\n`)
  console.log(`slots      ${after.map((shard) => `${shard.id} ${shard.slots.toLocaleString('en')}`).join(', ')}`)
  console.log(`page       ${path.relative(root, page)}`)
  console.log(
    `\n${acknowledged.toLocaleString('en')} acknowledged, ${lost} lost, ${doubled} doubled, cutover p99 ${p99} ms`,
  )
  const seconds = Math.round((performance.now() - startedAt) / 1_000)
  console.log(`(in ${seconds} s, with ${moves.length} moves and one kill)`)
  // The report counts requests that the killed runtime never answered; they are not failures.
  const { unexpected, unread } = report.readBack
  const { sightings } = report
  const wrong = lost + doubled + unexpected + unread + sightings.stale + sightings.unexpected + sightings.overdue
  process.exitCode = wrong === 0 && isEven ? 0 : 1
}

function step(text: string): void {
  console.log(`\n── ${text}`)
}

function mark(label: string): void {
  marks.push({ label, seconds: ticks.at(-1)?.seconds ?? 0 })
}

function sayTick(tick: Tick): void {
  ticks.push(tick)
  if (ticks.length % SAY_EVERY_SECONDS !== 1) return
  const { seconds, requestsPerSecond, p99Ms, retries, inFlight } = tick
  console.log(
    `  ${seconds.toFixed(0).padStart(3)} s  ${requestsPerSecond.toFixed(0)}/s  p99 ${p99Ms.toFixed(0)} ms  ${retries} retries  ${inFlight} in flight`,
  )
}

/** Runs the operators' command and prints its output. Throws if it fails. */
function banyan(...args: string[]): Promise<void> {
  console.log(
    `  $ npm run banyan -- ${args.slice(0, args.includes('--config') ? args.indexOf('--config') : undefined).join(' ')}`,
  )
  const child = spawn(process.execPath, ['src/cli/main.ts', ...args, '--url', server.url.origin, '--token', token], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => process.stdout.write(text.replaceAll(/^(?=.)/gm, '  ')))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`banyan ${args[0]} exited with code ${code}`)),
    )
  })
}

/** Resolves when a move copies or verifies. */
async function isUnderWay(): Promise<void> {
  const isMoving = ({ state }: Move) => !['planned', 'settling', 'purging', 'done'].includes(state)
  for (; !(await allMoves()).some(isMoving); await sleep(20));
}

async function allMoves(): Promise<Move[]> {
  return (await ask<{ items: Move[] }>('/operator/v1/moves?limit=100')).items
}

async function shards(): Promise<DemoShard[]> {
  return (await ask<{ items: DemoShard[] }>('/operator/v1/shards')).items
}

async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(new URL(path, server.url), { headers: { authorization: `Bearer ${token}` } })
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`)
  return (await answer.json()) as T
}

async function cleanUp(): Promise<void> {
  await server.remove()
  rmSync(configPath, { force: true })
}
