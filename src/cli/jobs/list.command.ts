import type { JobKindList, JobQueueList } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { bytes, table } from '../shell/table.ts'
import { listJobs } from './requests.ts'

export const command = defineCommand({
  name: 'jobs list',
  summary: 'lists the kinds of jobs and the queues, with what waits, runs and is dead',
  details:
    'Numbers of kinds come from all shards. A number with + is a minimum, because a shard has more rows than are counted. If a shard does not answer, the command names it and exits 1.',
  examples: ['jobs list', 'jobs list --json'],
  async run(connect) {
    const [kinds, queues] = await listJobs(connect())
    const missed = `\n\nThe jobs of these shards are not counted, because they did not answer: ${kinds.failed.join(', ')}`
    const isFailure = kinds.failed.length > 0
    return {
      json: { kinds, queues },
      text: `${kindTable(kinds, queues)}\n\n${queueTable(queues)}${isFailure ? missed : ''}`,
      isFailure,
    }
  },
})

function kindTable({ items }: JobKindList, queues: JobQueueList): string {
  const pausedQueues = new Set(queues.items.flatMap(({ queue, paused }) => (paused ? [queue] : [])))
  const rows = items.map(({ kind, queue, waiting, running, dead, oldestMs, paused, atLeast }) => {
    const counts = [waiting, running, dead].map((count) => `${count.toLocaleString('en')}${atLeast ? '+' : ''}`)
    return [kind, queue, paused ? 'yes' : pausedQueues.has(queue) ? 'with its queue' : 'no', ...counts, age(oldestMs)]
  })
  return table(['kind', 'queue', 'paused', 'waiting', 'running', 'dead', 'oldest'], rows, 3)
}

function queueTable({ items }: JobQueueList): string {
  const rows = items.map(({ queue, messages, bytes: size, oldestMs, paused }) => [
    queue,
    paused ? 'yes' : 'no',
    messages === null ? '–' : messages.toLocaleString('en'),
    size === null ? '–' : bytes(size),
    age(oldestMs),
  ])
  const silent = items.flatMap(({ queue, error }) =>
    error === null ? [] : [`\nThe queue ${queue} did not answer: ${error}`],
  )
  return table(['queue', 'paused', 'messages', 'size', 'oldest'], rows, 2) + silent.join('')
}

/** 93,000 → `1.6 min`. */
function age(ms: number | null): string {
  if (ms === null) return '–'
  const units = [
    [86_400_000, 'days'],
    [3_600_000, 'h'],
    [60_000, 'min'],
  ] as const
  const [unitMs, unit] = units.find(([size]) => ms >= size) ?? ([1_000, 's'] as const)
  return `${(ms / unitMs).toFixed(1)} ${unit}`
}
