import { expect, test } from 'vitest'
import { command as list } from '../../../../src/cli/jobs/list.command.ts'
import { command as pause } from '../../../../src/cli/jobs/pause.command.ts'
import { command as resume } from '../../../../src/cli/jobs/resume.command.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'

const kind = {
  kind: 'report',
  queue: 'jobs',
  waiting: 1_204,
  running: 2,
  dead: 3,
  oldestMs: 93_000,
  paused: false,
  atLeast: false,
}
const queue = { queue: 'jobs', messages: 1_100, bytes: 440_000, oldestMs: 2_500, paused: false, error: null }

/** An operators' API with these kinds and queues. */
function api(kinds: object[], queues: object[], failed: string[] = []) {
  const asked: unknown[] = []
  const connection = {
    get: async (path: string) => (path.endsWith('/kinds') ? { items: kinds, failed } : { items: queues }),
    patch: async (...request: unknown[]) => {
      asked.push(request)
      return { paused: true }
    },
  }
  return { connect: () => connection as unknown as Connection, asked }
}

test('jobs list shows kinds and queues in two tables', async () => {
  const kinds = [
    kind,
    { ...kind, kind: 'mail', queue: 'mail', waiting: 0, running: 0, dead: 0, oldestMs: null, paused: true },
  ]
  const { text, json, isFailure } = await list.run(api(kinds, [queue]).connect, [], {})
  expect(text.split('\n')).toEqual([
    'kind    queue  paused  waiting  running  dead   oldest',
    'report  jobs   no        1,204        2     3  1.6 min',
    'mail    mail   yes           0        0     0        –',
    '',
    'queue  paused  messages      size  oldest',
    'jobs   no         1,100  440.0 kB   2.5 s',
  ])
  expect(json).toEqual({ kinds: { items: kinds, failed: [] }, queues: { items: [queue] } })
  expect(isFailure).toBe(false)
})

test('jobs list marks minimums and paused queues, and names what did not answer', async () => {
  const silent = { queue: 'jobs', messages: null, bytes: null, oldestMs: null, paused: true, error: 'no answer' }
  const { text, isFailure } = await list.run(api([{ ...kind, atLeast: true }], [silent], ['shard-001']).connect, [], {})
  expect(text).toMatch(/^report +jobs +with its queue +1,204\+ +2\+ +3\+ +1\.6 min$/m)
  expect(text).toMatch(/^jobs +yes +– +– +–\nThe queue jobs did not answer: no answer$/m)
  expect(text).toMatch(/not counted, because they did not answer: shard-001$/)
  expect(isFailure).toBe(true)
})

test.each([
  [pause, true, 'is paused.'],
  [resume, false, 'is resumed.'],
])('$0.name takes kinds and a queue', async (command, paused, said) => {
  const { connect, asked } = api([], [])
  const { text } = await command.run(connect, ['mail.reset', 'a/b'], { queue: 'mail' })
  expect(asked).toEqual([
    ['/operator/v1/jobs/kinds/mail.reset', { paused }],
    ['/operator/v1/jobs/kinds/a%2Fb', { paused }],
    ['/operator/v1/jobs/queues/mail', { paused }],
  ])
  const named = ['Kind mail.reset', 'Kind a/b', 'Queue mail'].map((name) => expect.stringContaining(`${name} ${said}`))
  expect(text.split('\n')).toEqual(named)
  await expect(command.run(connect, [], {})).rejects.toMatchObject({
    message: `${command.name} needs a kind or a queue.`,
    fix: expect.stringContaining(`npm run banyan -- ${command.name} --queue mail`),
  })
})
