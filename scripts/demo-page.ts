import type { Tick } from '../src/cli/load/figures.ts'
import type { LoadReport } from '../src/cli/load/report.ts'

export interface DemoShard {
  id: string
  slots: number
}

/** An event, with its time in seconds since the start of the load. */
export interface DemoMark {
  label: string
  seconds: number
}

interface Demo {
  before: DemoShard[]
  after: DemoShard[]
  ticks: Tick[]
  marks: DemoMark[]
  moves: { keyspace: string; slots: string; source: string; target: string; cutoverMs: number | null }[]
  report: LoadReport
}

const WIDTH = 860
const HEIGHT = 200
const colours = ['#2f6f4f', '#c8963e', '#4b6c9e', '#a4516b']

/** The demo's page: slots before and after, what clients saw in between, the moves, and the figures. */
export function demoPage({ before, after, ticks, marks, moves, report }: Demo): string {
  const { writes, readBack, requests } = report
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Banyan: two shards become four</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: ${WIDTH}px; margin: 2rem auto; padding: 0 1rem; color: #222 }
  svg { width: 100%; height: auto } table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0; text-align: left }
  .line { font-size: 1.3rem; font-weight: 600 }
</style>
<h1>Two shards become four, under load</h1>
<p class="line">${writes.acknowledged.toLocaleString('en')} acknowledged, ${readBack.lost} lost, ${readBack.doubled} doubled</p>
<h2>Slots before and after</h2>
${strip(before)}
${strip(after)}
<h2>What clients saw</h2>
<p>Requests per second (bars) and p99 latency (line), for each second. Latency is measured from the planned start of each request.</p>
${chart(ticks, marks)}
<p>${requests.planned.toLocaleString('en')} requests, ${requests.retries} retries, ${requests.recovered} recovered by a retry, ${requests.dropped} dropped while the runtime was down, ${requests.failed} failed.</p>
<h2>Moves</h2>
<table><tr><th>keyspace<th>slots<th>from<th>to<th>write delay</tr>
${moves.map(({ keyspace, slots, source, target, cutoverMs }) => `<tr><td>${keyspace}<td>${slots}<td>${source}<td>${target}<td>${cutoverMs ?? '–'} ms</tr>`).join('\n')}
</table>
</html>
`
}

/** A bar of all slots, split by shard. */
function strip(shards: DemoShard[]): string {
  const all = shards.reduce((sum, { slots }) => sum + slots, 0)
  let from = 0
  const parts = shards.map(({ id, slots }, index) => {
    const width = (slots / all) * WIDTH
    const part = `<rect x="${from}" width="${width}" height="40" fill="${colours[index % colours.length]}"/>
<text x="${from + 8}" y="26" fill="#fff" font-size="14">${id}: ${slots.toLocaleString('en')} slots</text>`
    from += width
    return part
  })
  return `<svg viewBox="0 0 ${WIDTH} 46" role="img" aria-label="Slots per shard">${parts.join('\n')}</svg>`
}

function chart(ticks: Tick[], marks: DemoMark[]): string {
  const seconds = ticks.at(-1)?.seconds ?? 1
  const rateMax = Math.max(1, ...ticks.map((tick) => tick.requestsPerSecond))
  const slowest = Math.max(1, ...ticks.map((tick) => tick.p99Ms))
  const x = (second: number) => ((second / seconds) * WIDTH).toFixed(1)
  const height = (share: number) => share * (HEIGHT - 40)
  const bars = ticks.map(({ seconds: at, requestsPerSecond }) => {
    const tall = height(requestsPerSecond / rateMax)
    return `<rect x="${x(Math.max(0, at - 1))}" y="${(HEIGHT - tall).toFixed(1)}" width="${(WIDTH / seconds - 1).toFixed(1)}" height="${tall.toFixed(1)}" fill="#cfe0d6"/>`
  })
  const points = ticks.map(({ seconds: at, p99Ms }) => `${x(at)},${(HEIGHT - height(p99Ms / slowest)).toFixed(1)}`)
  const notes = marks.map(
    ({ label, seconds: at }, index) =>
      `<line x1="${x(at)}" x2="${x(at)}" y1="${14 * (index % 3) + 4}" y2="${HEIGHT}" stroke="#888"/><text x="${Number(x(at)) + 3}" y="${14 * (index % 3) + 12}" font-size="12">${label}</text>`,
  )
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Requests per second and latency over time">
${bars.join('\n')}
<polyline points="${points.join(' ')}" fill="none" stroke="#a4516b" stroke-width="1.5"/>
${notes.join('\n')}
</svg>
<p>At most ${rateMax.toFixed(0)} requests per second; the line reaches ${(slowest / 1_000).toFixed(1)} s.</p>`
}
