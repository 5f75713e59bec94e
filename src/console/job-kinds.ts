import { BanyanError, messageOf } from '../core/errors.ts'
import { countKinds, noJobs } from '../jobs/kind-counts.ts'
import { type QueueName, queueNames } from '../jobs/kinds.ts'
import type { Pausable } from '../jobs/pauses.ts'
import type { OperatorContext } from './context.ts'
import type { JobKindItem, JobKindList, JobQueueItem, JobQueueList } from './shapes.ts'

type KindContext = Pick<OperatorContext, 'shards' | 'clock' | 'log' | 'pauses' | 'queueOfKinds'>
type QueueContext = Pick<OperatorContext, 'pauses' | 'backlog' | 'log'>

/** Every kind that this version knows, that has rows, or that is paused. `failed` names shards without an answer. */
export async function listKinds({ shards, clock, log, pauses, queueOfKinds }: KindContext): Promise<JobKindList> {
  const [{ kinds, atLeast, failed }, paused] = await Promise.all([countKinds({ shards, clock }), pauses.read()])
  for (const { shard, error } of failed) log.warn('shard.error', { shard, operation: 'jobs.kinds', reason: error })
  const queues = queueOfKinds()
  const pausedKinds = paused.flatMap((name) => (name.startsWith('kind.') ? [name.slice('kind.'.length)] : []))
  const names = new Set([...queues.keys(), ...kinds.keys(), ...pausedKinds])
  return {
    items: [...names].toSorted().map((kind) => ({
      kind,
      queue: queues.get(kind) ?? 'jobs',
      ...(kinds.get(kind) ?? noJobs()),
      paused: pausedKinds.includes(kind),
      atLeast,
    })),
    failed: failed.map(({ shard }) => shard).toSorted(),
  }
}

/** Pauses or resumes a kind. Throws NOT_FOUND for one that nothing knows. */
export async function setKindPaused(operators: KindContext, kind: string, paused: boolean): Promise<JobKindItem> {
  const { items } = await listKinds(operators)
  const item = items.find((one) => one.kind === kind)
  if (!item) throw new BanyanError('NOT_FOUND', `There is no kind of job "${kind}". See: npm run banyan -- jobs list`)
  await setPaused(operators, `kind.${kind}`, paused)
  return { ...item, paused }
}

/** What waits in each queue, and which ones are paused. A queue that does not answer has no numbers, but a reason. */
export async function listQueues(operators: QueueContext): Promise<JobQueueList> {
  const paused = await operators.pauses.read()
  const items = queueNames.map((queue) => queueItem(operators, queue, paused.includes(`queue.${queue}`)))
  return { items: await Promise.all(items) }
}

/** Pauses or resumes a queue. Throws NOT_FOUND. */
export async function setQueuePaused(operators: QueueContext, name: string, paused: boolean): Promise<JobQueueItem> {
  const queue = queueNames.find((one) => one === name)
  if (!queue)
    throw new BanyanError('NOT_FOUND', `There is no queue "${name}". The queues are ${queueNames.join(', ')}.`)
  await setPaused(operators, `queue.${queue}`, paused)
  return queueItem(operators, queue, paused)
}

async function queueItem({ backlog, log }: QueueContext, queue: QueueName, paused: boolean): Promise<JobQueueItem> {
  try {
    return { queue, ...(await backlog(queue)), paused, error: null }
  } catch (error) {
    const reason = messageOf(error)
    log.warn('queue.no-metrics', { queue, reason })
    return { queue, messages: null, bytes: null, oldestMs: null, paused, error: reason }
  }
}

const setPaused = ({ pauses }: Pick<OperatorContext, 'pauses'>, what: Pausable, paused: boolean): Promise<void> =>
  paused ? pauses.pause(what) : pauses.resume(what)
