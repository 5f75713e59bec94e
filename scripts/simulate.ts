/**
 * `npm run simulate -- --seeds 1000 [--from 1] [--workers 2] [--first] [--replicas]`: runs the simulation once per seed,
 * on several cores; `--first` stops at the first violation; `--replicas` gives every seed replicas, not every third.
 * `npm run simulate -- --seed 17` replays one seed and prints all its events. Prints how often each fault hit each step
 * of a move, and seeds per second. Exits 1 if an invariant is violated.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { addTables, type FaultTable, faults, isPossible, moverSteps } from '../test/simulation/faults.ts'
import { runSeed, type SeedReport } from '../test/simulation/run.ts'
import { scaleDown } from '../test/simulation/scale.ts'
import { makeTemplate } from '../test/simulation/template.ts'
import { readOptions, wholeOption } from './options.ts'

const CHUNK_SEEDS = 20
const SEED_MAX = Number.MAX_SAFE_INTEGER
const TRACE_LINES = 60
const PROGRESS_MS = 1_000
/** No object outlives its seed, and most die long before this much memory is allocated. */
const YOUNG_MB = 256

interface Chunk {
  from: number
  to: number
  replicas: 'some' | 'all'
}

type Report = Omit<SeedReport, 'trace'>

if (isMainThread) await main()
else await work()

async function work(): Promise<void> {
  // Refusals are thrown by the thousand, and nothing reads their stacks.
  Error.stackTraceLimit = 0
  scaleDown()
  const template = await makeTemplate()
  parentPort!.on('message', async ({ from, to, replicas }: Chunk) => {
    const reports: Report[] = []
    for (let seed = from; seed < to; seed++) {
      const { trace: _, ...report } = await runSeed(template, seed, { replicas })
      reports.push(report)
      if (report.violation) break
    }
    parentPort!.postMessage(reports)
  })
  parentPort!.postMessage([])
}

async function main(): Promise<void> {
  const values = readOptions({
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
    first: { type: 'boolean', default: false },
    replicas: { type: 'boolean', default: false },
  })
  const replicas = values.replicas ? 'all' : 'some'
  if (values.seed !== undefined) return replay(wholeOption('--seed', values.seed, 0, SEED_MAX), replicas)
  const sums = await sweep({
    from: wholeOption('--from', values.from, 0, SEED_MAX),
    count: wholeOption('--seeds', values.seeds, 1, SEED_MAX),
    workers: wholeOption('--workers', values.workers, 1, 256),
    stopsAtFirst: values.first,
    replicas,
  })
  printTable(sums.table)
  const ends = Object.entries(sums.moves).map(([end, count]) => `${count} ${end}`)
  console.log(
    `\n${sums.seeds} seeds in ${(sums.ms / 1_000).toFixed(1)} s, ${(sums.seeds / (sums.ms / 1_000)).toFixed(1)} per second`,
  )
  console.log(`${sums.operations.toLocaleString('en')} operations; moves: ${ends.join(', ')}`)
  const happened = Object.entries(sums.happened).map(([what, count]) => `${count} ${what}`)
  console.log(`of the moves: ${happened.join(', ')}`)
  const most = Object.entries(sums.statements).map(([kind, count]) => `${kind} ${count}`)
  console.log(`most statements per invocation: ${most.join(', ')}; ${sums.putOff} messages were deferred`)
  const served = Object.entries(sums.replicas).map(([what, count]) => `${count.toLocaleString('en')} ${what}`)
  console.log(`replicas: ${served.join(', ')}`)
  console.log(`${sums.broken.length} violations`)
  for (const { seed, violation } of sums.broken) console.log(`  seed ${seed}: ${violation!.split('\n')[0]}`)
  if (sums.broken.length === 0) return
  console.log(
    `\nTo replay at commit ${commit()}: npm run simulate -- --seed ${sums.broken[0]!.seed}${values.replicas ? ' --replicas' : ''}`,
  )
  process.exitCode = 1
}

async function replay(seed: number, replicas: Chunk['replicas']): Promise<void> {
  scaleDown()
  const report = await runSeed(await makeTemplate(), seed, { isTraced: true, replicas })
  const file = path.join(tmpdir(), `banyan-seed-${seed}.txt`)
  writeFileSync(file, `${report.trace.join('\n')}\n`)
  console.log(report.trace.slice(-TRACE_LINES).join('\n'))
  console.log(`\nAll ${report.trace.length} lines: ${file}`)
  console.log(
    `Seed ${seed} at commit ${commit()}: ${report.operations} operations, ${report.violation ?? 'no violation'}`,
  )
  process.exitCode = report.violation ? 1 : 0
}

interface Sweep {
  from: number
  count: number
  workers: number
  stopsAtFirst: boolean
  replicas: Chunk['replicas']
}

interface Sums {
  seeds: number
  operations: number
  ms: number
  moves: Record<string, number>
  happened: Record<string, number>
  putOff: number
  replicas: Record<string, number>
  statements: Record<string, number>
  table: FaultTable
  broken: Report[]
}

function sweep(options: Sweep): Promise<Sums> {
  const sums: Sums = {
    seeds: 0,
    operations: 0,
    ms: 0,
    moves: {},
    happened: {},
    putOff: 0,
    replicas: {},
    statements: {},
    table: {},
    broken: [],
  }
  const startedAt = performance.now()
  const end = options.from + options.count
  let next = options.from
  let shownAt = 0
  return new Promise((resolve, reject) => {
    let busy = options.workers
    for (let index = 0; index < options.workers; index++) {
      const worker = new Worker(import.meta.filename, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } })
      worker.on('error', reject)
      worker.on('message', (reports: Report[]) => {
        for (const report of reports) add(sums, report)
        sums.ms = performance.now() - startedAt
        const isOver = next >= end || (options.stopsAtFirst && sums.broken.length > 0)
        if (sums.ms - shownAt > PROGRESS_MS || isOver) {
          shownAt = sums.ms
          progress(sums, options.count)
        }
        if (isOver) {
          void worker.terminate()
          if (--busy === 0) resolve(sums)
          return
        }
        const from = next
        next = Math.min(end, next + CHUNK_SEEDS)
        worker.postMessage({ from, to: next, replicas: options.replicas } satisfies Chunk)
      })
    }
  })
}

function add(sums: Sums, report: Report): void {
  sums.seeds++
  sums.operations += report.operations
  sums.putOff += report.putOff
  for (const [what, count] of Object.entries(report.happened)) sums.happened[what] = (sums.happened[what] ?? 0) + count
  for (const [what, count] of Object.entries(report.replicas)) sums.replicas[what] = (sums.replicas[what] ?? 0) + count
  for (const [kind, count] of Object.entries(report.statements))
    sums.statements[kind] = Math.max(sums.statements[kind] ?? 0, count)
  addTables(sums.table, report.table)
  for (const [state, count] of Object.entries(report.moves)) sums.moves[state] = (sums.moves[state] ?? 0) + count
  if (report.violation) sums.broken.push(report)
}

function progress({ seeds, ms, broken }: Sums, count: number): void {
  if (!process.stderr.isTTY) return
  const width = 30
  const done = Math.round((seeds / count) * width)
  const rate = (seeds / (ms / 1_000)).toFixed(1)
  const bar = `${'█'.repeat(done)}${'░'.repeat(width - done)}`
  process.stderr.write(
    `\r${bar} ${seeds}/${count}  ${rate} seeds/s  ${broken.length} violations ${seeds === count ? '\n' : ''}`,
  )
}

function printTable(table: FaultTable): void {
  const cells = moverSteps.map((step) =>
    faults.map((fault) => table[step]?.[fault] ?? (isPossible(step, fault) ? 0 : null)),
  )
  const head = faults.map((fault) => fault.split(' '))
  console.log(`\nHow often each fault hit each step:\n`)
  for (const line of [0, 1])
    console.log(' '.repeat(16) + head.map((words) => (words[line] ?? '').padStart(10)).join(''))
  moverSteps.forEach((step, row) => {
    console.log(step.padEnd(16) + cells[row]!.map((count) => String(count ?? '–').padStart(10)).join(''))
  })
  const empty = cells.flat().filter((count) => count === 0).length
  console.log(`\n${empty} of ${cells.flat().length} cells are empty`)
}

function commit(): string {
  return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim()
}
