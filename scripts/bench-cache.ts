/**
 * `npm run bench:cache [-- --rounds 40]`: measures hits of the cache as ratios to raw reads of KV and D1, in paired
 * rounds of one run. Prints medians with 95% intervals. Exits 1 if a median is over its bound.
 */
import './cluster/quiet.ts'
import '../src/cli/wrangler/local-environment.ts'
import path from 'node:path'
import { createTestHarness, unstable_readConfig } from 'wrangler'
import { root } from '../src/cli/shell/root.ts'
import { table } from '../src/cli/shell/table.ts'
import { configFor } from '../src/cli/wrangler/local-shards.ts'
import type { CacheQuestion } from '../test/bench/cache-worker.ts'
import { readOptions } from './options.ts'

/** The clock has whole milliseconds, and moves with I/O only. */
const callsOf = (subject: string) => (subject === 'memory hit' ? 20_000 : 400)

const bounds: [subject: string, base: string, max: number | null][] = [
  ['memory hit', 'KV get, raw', 0.02],
  ['KV hit', 'KV get, raw', 1.05],
  ['memory hit', 'D1 read, raw', null],
]

const rounds = Number(readOptions({ rounds: { type: 'string', default: '40' } }).rounds)
const { d1_databases, kv_namespaces, compatibility_date, compatibility_flags } = unstable_readConfig({
  config: configFor(1).configPath,
})
const main = path.join(root, 'test/bench/cache-worker.ts')
const config = { name: 'banyan-bench', main, compatibility_date, compatibility_flags, d1_databases, kv_namespaces }
const harness = createTestHarness({ root, workers: [{ config }] })

async function ask<T>(question: CacheQuestion): Promise<T> {
  const answer = await harness.getWorker().fetch('/', { method: 'POST', body: JSON.stringify(question) })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()) as T
}

const times = new Map<string, number[]>()
await harness.listen()
try {
  const subjects = await ask<string[]>({})
  for (const subject of subjects) times.set(subject, [])
  // The first rounds meet cold code and are not counted.
  for (let round = -3; round < rounds; round++)
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const ms = await ask<number>({ subject, calls: callsOf(subject) })
      if (round >= 0) times.get(subject)!.push(ms)
    }
} finally {
  await harness.close()
}

/** The median, and a 95% interval of it by order statistics (normal approximation of the binomial). */
function medianOf(numbers: number[]): { median: number; low: number; high: number } {
  const sorted = numbers.toSorted((a, b) => a - b)
  const { length } = sorted
  const reach = (1.96 * Math.sqrt(length)) / 2
  const at = (index: number) => sorted[Math.min(length - 1, Math.max(0, Math.round(index)))]!
  return { median: sorted[length >> 1]!, low: at(length / 2 - reach - 1), high: at(length / 2 + reach) }
}

const inMicroseconds = (ms: number) => (ms * 1_000).toFixed(1)
console.log(`${rounds} paired rounds\n`)
const absolute = [...times].map(([subject, list]) => {
  const { median, low, high } = medianOf(list)
  return [subject, inMicroseconds(median), `${inMicroseconds(low)}–${inMicroseconds(high)}`]
})
console.log(table(['', 'µs', '95%'], absolute, 1))

const digits = (ratio: number) => (ratio < 0.1 ? ratio.toFixed(4) : ratio.toFixed(2))
const ratios = bounds.map(([subject, base, max]) => {
  const bases = times.get(base)!
  const { median, low, high } = medianOf(times.get(subject)!.map((ms, round) => ms / bases[round]!))
  if (max !== null && median > max) process.exitCode = 1
  const verdict = max === null ? '' : median > max ? `over ${max}` : `at most ${max}`
  return [`${subject} ÷ ${base}`, digits(median), `${digits(low)}–${digits(high)}`, verdict]
})
console.log(`\n${table(['', 'median', '95%', 'bound'], ratios, 1)}`)
const [, , ofD1] = ratios
console.log(
  `\nA memory hit is ${Math.round(1 / Number(ofD1![1]))} times as fast as a local D1 read. The guide says 1,000.`,
)
