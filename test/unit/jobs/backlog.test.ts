import { expect, test } from 'vitest'
import { createLog } from '../../../src/core/log.ts'
import { askBacklog, logBacklog } from '../../../src/jobs/backlog.ts'
import { ManualClock, silence } from '../../support/sharding-doubles.ts'

const metadata = (oldestAt: number) => ({
  metrics: { backlogCount: 40, backlogBytes: 9_000, oldestMessageTimestamp: new Date(oldestAt) },
})

test('a queue’s backlog is logged at most once a minute, for each queue', () => {
  const clock = new ManualClock(1_000_000)
  const lines: object[] = []
  const log = createLog({}, (_level, line) => lines.push(JSON.parse(line)))
  const times = new Map<string, number>()
  const batch = (queue: string) => logBacklog({ queue, metadata: metadata(clock.now() - 5_000) }, { times, clock, log })
  batch('banyan-jobs')
  batch('banyan-jobs')
  batch('banyan-mail')
  clock.advance(59_999)
  batch('banyan-jobs')
  clock.advance(1)
  batch('banyan-jobs')
  const line = { level: 'info', event: 'queue.backlog', messages: 40, bytes: 9_000, oldestMs: 5_000 }
  expect(lines).toEqual(['banyan-jobs', 'banyan-mail', 'banyan-jobs'].map((queue) => ({ ...line, queue })))
})

test('an empty queue has no oldest message, and a silent queue is given up', async () => {
  const clock = new ManualClock(1_000_000)
  const metrics = async () => ({ backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: new Date(0) })
  expect(await askBacklog({ metrics }, clock)).toEqual({ messages: 0, bytes: 0, oldestMs: null })
  const asked = askBacklog({ metrics: silence }, clock)
  const refused = expect(asked).rejects.toThrow('did not answer within 5000 ms')
  clock.advance(5_000)
  await refused
})
