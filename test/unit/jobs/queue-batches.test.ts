import { expect, test } from 'vitest'
import type { Job } from '../../../src/jobs/outbox.ts'
import { messageBytes, messageOfJob, queueBatches } from '../../../src/jobs/queue-batches.ts'
import { UnkindQueue } from '../../support/queue-double.ts'

const ID = '012301m85g7dbz0jemk30f5exg8274'
const job = (text: string): Job => ({
  id: ID,
  ownerId: ID,
  kind: 'raise',
  body: { text },
  createdAt: 1_800_000_000_000,
  attempts: 0,
})
/** Message bytes of a job without text: its JSON, plus 100. */
const EMPTY =
  `{"id":"${ID}","ownerId":"${ID}","kind":"raise","body":{"text":""},"createdAt":1800000000000,"attempts":0}`.length +
  100

test.each([
  ['ASCII', 'x', 1],
  ['characters of three bytes', '→', 3],
  ['emoji', '🌳', 4],
  ['quotes, which JSON writes with two', '"', 2],
  ['control characters, which JSON writes with six', '\u0001', 6],
])('a message’s size is its JSON in UTF-8, plus 100 bytes: %s', (_, character, bytes) => {
  expect(messageBytes(job(character.repeat(1_000)))).toBe(EMPTY + 1_000 * bytes)
})

test('a message of 128,000 bytes is sent; one with one byte more is sent without its body', async () => {
  const [fits, exceeds] = [job('x'.repeat(128_000 - EMPTY)), job('x'.repeat(128_001 - EMPTY))]
  expect(messageOfJob(fits)).toBe(fits)
  expect(messageOfJob(exceeds)).toEqual({ ...exceeds, body: {}, bodyIn: 'row' })
  const { binding } = new UnkindQueue<Job>()
  const send = (one: Job) => binding.sendBatch([{ body: one }])
  await expect(send(fits)).resolves.toBeDefined()
  await expect(send(exceeds)).rejects.toThrow('Payload Too Large')
  await expect(send(messageOfJob(exceeds))).resolves.toBeDefined()
})

const runs: [string, Job[], number][] = [
  ['none', [], 0],
  ['100 small ones', Array(100).fill(job('')), 1],
  ['101 small ones', Array(101).fill(job('')), 2],
  ['100 of 3 KB', Array(100).fill(job('x'.repeat(3_000))), 2],
  ['three, of which two fill a batch', Array(3).fill(job('x'.repeat(128_000 - EMPTY))), 2],
  ['two large ones between small ones', [job(''), job('x'.repeat(127_700)), job('→'.repeat(42_560)), job('')], 2],
]

test.each(runs)('jobs are split, in order, into batches that a queue accepts: %s', async (_, jobs, batches) => {
  const queue = new UnkindQueue<Job>()
  const cut = queueBatches(jobs)
  for (const batch of cut) await queue.binding.sendBatch(batch.map((body) => ({ body })))
  expect(queue.sent).toEqual(jobs)
  expect(cut).toHaveLength(batches)
})
