/**
 * `npm run bench:move [-- --rows 100000 --repetitions 3 --non-ascii 10]`: compares a move of 256 slots, with pace off,
 * to a plain copy of the same rows through `json_each`, in the same run. On a busy machine single ratios vary by half
 * (0.49 to 0.99 were measured). Look at the range too, and use `--repetitions 7` before quoting a figure.
 */
import './cluster/quiet.ts'
import '../src/cli/wrangler/local-environment.ts'
import path from 'node:path'
import { createTestHarness, unstable_readConfig } from 'wrangler'
import { root } from '../src/cli/shell/root.ts'
import { table } from '../src/cli/shell/table.ts'
import { configFor } from '../src/cli/wrangler/local-shards.ts'
import type { BenchKind, BenchResult, BenchSetting } from '../test/bench/move-worker.ts'
import { readOptions, wholeOption } from './options.ts'

const RATIO_MIN = 0.5

const values = readOptions({
  rows: { type: 'string', default: '100000' },
  repetitions: { type: 'string', default: '3' },
  'non-ascii': { type: 'string', default: '10' },
})
const setting: BenchSetting = {
  rows: wholeOption('--rows', values.rows, 1, 10_000_000),
  nonAscii: wholeOption('--non-ascii', values['non-ascii'], 0, 100),
}
const repetitions = wholeOption('--repetitions', values.repetitions, 1, 1_000)

const { d1_databases, compatibility_date, compatibility_flags } = unstable_readConfig({
  config: configFor(2).configPath,
})
const harness = createTestHarness({
  root,
  workers: [
    {
      config: {
        name: 'banyan-bench',
        main: path.join(root, 'test/bench/move-worker.ts'),
        compatibility_date,
        compatibility_flags,
        d1_databases,
        durable_objects: { bindings: [{ name: 'BENCH', class_name: 'Bench' }] },
        migrations: [{ tag: 'v1', new_sqlite_classes: ['Bench'] }],
      },
    },
  ],
})

async function ask<T>(question: { fill: BenchSetting } | { kind: BenchKind }): Promise<T> {
  const answer = await harness.getWorker().fetch('/', { method: 'POST', body: JSON.stringify(question) })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()) as T
}

const kinds: BenchKind[] = ['plain', 'move', 'verified move']
const results = new Map<BenchKind, BenchResult[]>(kinds.map((kind) => [kind, []]))
await harness.listen()
try {
  for (const { binding } of d1_databases) await harness.getWorker().applyD1Migrations(binding as never)
  await ask({ fill: setting })
  for (const kind of kinds) await ask({ kind }) // warm-up: the first run of each kind meets cold files and code, and is not counted
  for (let repetition = 0; repetition < repetitions; repetition++)
    for (const kind of kinds) results.get(kind)!.push(await ask<BenchResult>({ kind }))
} finally {
  await harness.close()
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!
const medianMs = (kind: BenchKind) => median(results.get(kind)!.map(({ ms }) => ms))
const ratio = (kind: BenchKind) => medianMs('plain') / medianMs(kind)
/** The lowest and highest ratio, each relative to the plain copy of the same repetition. */
const range = (kind: BenchKind) => {
  const ratios = results.get(kind)!.map(({ ms }, index) => results.get('plain')![index]!.ms / ms)
  return `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
}
/** Billed rows per moved row, both databases together. */
const perRow = (kind: BenchKind, of: 'rowsRead' | 'rowsWritten') =>
  (median(results.get(kind)!.map((result) => result[of])) / setting.rows).toFixed(1)
const lines = kinds.map((kind) => [
  kind,
  results
    .get(kind)!
    .map(({ ms }) => ms)
    .join(' '),
  String(medianMs(kind)),
  String(Math.round(setting.rows / (medianMs(kind) / 1_000))),
  String(results.get(kind)![0]!.rounds),
  perRow(kind, 'rowsRead'),
  perRow(kind, 'rowsWritten'),
  ratio(kind).toFixed(2),
  range(kind),
])
console.log(`${setting.rows} rows, of which ${setting.nonAscii} % are not ASCII\n`)
console.log(
  table(
    ['', 'ms each', 'median ms', 'rows/s', 'rounds', 'read per row', 'written per row', 'plain / this', 'range'],
    lines,
    2,
  ),
)
if (ratio('move') < RATIO_MIN) {
  console.log(`\nMissed target: a move without verification should reach ${RATIO_MIN} of the speed of a plain copy.`)
  process.exitCode = 1
}
