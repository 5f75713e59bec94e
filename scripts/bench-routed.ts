/**
 * `npm run bench:routed [-- --repetitions 15 --calls 40 --against FOLDER]`: measures reads and writes of a routed
 * database as ratios to the plain binding, interleaved in one run. `--against` also measures `src/sharding` of another
 * checkout that has its packages installed. On a busy machine single figures vary by half, so compare the two columns.
 */
import './cluster/quiet.ts'
import '../src/cli/wrangler/local-environment.ts'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { createTestHarness, unstable_readConfig } from 'wrangler'
import { root } from '../src/cli/shell/root.ts'
import { table } from '../src/cli/shell/table.ts'
import { configFor } from '../src/cli/wrangler/local-shards.ts'
import type { RoutedQuestion } from '../test/bench/routed-worker.ts'

const { values } = parseArgs({
  options: {
    repetitions: { type: 'string', default: '15' },
    calls: { type: 'string', default: '40' },
    against: { type: 'string' },
  },
})
const checkouts = [
  { name: 'this', folder: root },
  ...(values.against === undefined ? [] : [{ name: 'against', folder: path.resolve(values.against) }]),
]
const subjects = ['plain', ...checkouts.map(({ name }) => name)]

/** The Worker's entry. It spells out its imports because the bundler cannot resolve computed ones. */
function entry(): string {
  const lines = checkouts.flatMap(({ name, folder }) => [
    `import { Shards as ${name}Shards } from ${JSON.stringify(path.join(folder, 'src/sharding/shards.ts'))}`,
    `import { MapHolder as ${name}Holder } from ${JSON.stringify(path.join(folder, 'src/sharding/map-holder.ts'))}`,
  ])
  const given = checkouts.map(({ name }) => `${name}: { Shards: ${name}Shards, MapHolder: ${name}Holder }`)
  return `import { routedBench } from ${JSON.stringify(path.join(root, 'test/bench/routed-worker.ts'))}
${lines.join('\n')}
export default routedBench({ ${given.join(', ')} })
`
}

const folder = path.join(root, '.wrangler', `bench-routed-${process.pid}`)
const main = path.join(folder, 'main.ts')
mkdirSync(folder, { recursive: true })
writeFileSync(main, entry())

const { d1_databases, compatibility_date, compatibility_flags } = unstable_readConfig({
  config: configFor(1).configPath,
})
const harness = createTestHarness({
  root,
  workers: [{ config: { name: 'banyan-bench', main, compatibility_date, compatibility_flags, d1_databases } }],
})

async function ask<T>(question: RoutedQuestion): Promise<T> {
  const answer = await harness.getWorker().fetch('/', { method: 'POST', body: JSON.stringify(question) })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()) as T
}

const times = new Map<string, number[]>()
const timesOf = (kind: string, subject: string) => times.get(`${kind} ${subject}`)!
let kinds: string[] = []
await harness.listen()
try {
  for (const { binding } of d1_databases) await harness.getWorker().applyD1Migrations(binding as never)
  kinds = await ask<string[]>({})
  for (const kind of kinds) for (const subject of subjects) times.set(`${kind} ${subject}`, [])
  // The first round is a warm-up: it meets cold files and code, and is not counted.
  for (let repetition = -1; repetition < Number(values.repetitions); repetition++)
    for (const kind of kinds)
      for (const subject of repetition % 2 === 0 ? subjects : subjects.toReversed()) {
        const ms = await ask<number>({ kind, subject, calls: Number(values.calls) })
        if (repetition >= 0) timesOf(kind, subject).push(ms)
      }
} finally {
  await harness.close()
  rmSync(folder, { recursive: true, force: true })
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!
const ratioTo = (base: string, kind: string, subject: string) =>
  median(timesOf(kind, subject).map((ms, repetition) => ms / timesOf(kind, base)[repetition]!)).toFixed(2)

const heads = ['', 'plain, ms', ...checkouts.map(({ name }) => `${name} / plain`)]
const lines = kinds.map((kind) => [
  kind,
  median(timesOf(kind, 'plain')).toFixed(2),
  ...checkouts.map(({ name }) => ratioTo('plain', kind, name)),
  ...(checkouts.length > 1 ? [ratioTo('against', kind, 'this')] : []),
])
console.log(
  `${values.repetitions} repetitions of ${values.calls} calls; medians of the ratios within each repetition\n`,
)
console.log(table(checkouts.length > 1 ? [...heads, 'this / against'] : heads, lines, 2))
