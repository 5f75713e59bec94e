import type { JobKindItem, JobKindList, JobQueueItem, JobQueueList } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'
import type { CommandDefinition } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'

const KINDS = '/operator/v1/jobs/kinds'
const QUEUES = '/operator/v1/jobs/queues'

export const listJobs = async (connection: Pick<Connection, 'get'>): Promise<[JobKindList, JobQueueList]> => [
  await connection.get<JobKindList>(KINDS),
  await connection.get<JobQueueList>(QUEUES),
]

export const kindOperands = [{ name: 'KIND', help: 'kinds of jobs, from jobs list', isList: true }] as const
export const queueOptions = {
  queue: { value: 'QUEUE', help: 'queue, from jobs list (default: only the kinds)' },
} as const

type Steered = CommandDefinition<typeof queueOptions, typeof kindOperands>

/** Pauses or resumes kinds and a queue. */
export const steering =
  (verb: 'pause' | 'resume', described: string): Steered['run'] =>
  async (connect, kinds, { queue }) => {
    if (kinds.length === 0 && queue === undefined)
      throw new UserError(
        `jobs ${verb} needs a kind or a queue.`,
        `Pass one from jobs list, for example: npm run banyan -- jobs ${verb} --queue mail`,
      )
    const connection = connect()
    const body = { paused: verb === 'pause' }
    const done: (JobKindItem | JobQueueItem)[] = []
    for (const kind of kinds)
      done.push(await connection.patch<JobKindItem>(`${KINDS}/${encodeURIComponent(kind)}`, body))
    if (queue !== undefined)
      done.push(await connection.patch<JobQueueItem>(`${QUEUES}/${encodeURIComponent(queue)}`, body))
    const names = [...kinds.map((kind) => `Kind ${kind}`), ...(queue === undefined ? [] : [`Queue ${queue}`])]
    return { json: { items: done }, text: names.map((name) => `${name} ${described}`).join('\n') }
  }
