import { expect, test } from 'vitest'
import { Client } from '../../../../src/cli/load/client.ts'
import { seededRandom } from '../../../../src/cli/load/draws.ts'
import { type DrawnRequest, Mix } from '../../../../src/cli/load/mix.ts'
import type { LoadPart, Person, RequestKind } from '../../../../src/cli/load/noun.ts'
import { MisbehavingServer } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

const time = new VirtualTime()
const { fetch } = new MisbehavingServer(time, [])
const options = { fetch, clock: time, random: () => 0, onRetry: () => undefined, onRecovered: () => undefined }
const newPerson = (name: string): Person => ({
  name,
  client: new Client(new URL('http://localhost'), options),
  isWriting: false,
})
const people = ['ann', 'ben', 'cem'].map(newPerson)

const ready = (name: string, weight: number): RequestKind => ({
  name,
  weight,
  draw: (person) => () => person.client.request('GET', '/'),
})
const unready = (name: string, weight: number): RequestKind => ({ name, weight, draw: () => null })

/** How often each kind is drawn in 10,000 draws. */
function drawn(parts: LoadPart[], reads: number): Record<string, number> {
  const mix = new Mix(parts)
  const random = seededRandom(1)
  const counts: Record<string, number> = {}
  for (let draw = 0; draw < 10_000; draw++) {
    const kind = mix.draw(random, reads, people)?.kind ?? 'none'
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

/** Four standard deviations of a binomial count. */
const about = (share: number) => (count: number | undefined) =>
  Math.abs((count ?? 0) - 10_000 * share) < 4 * Math.sqrt(10_000 * share * (1 - share))

test('all nouns’ kinds are drawn in proportion to their weights, separately for reads and writes', () => {
  const one = { reads: [ready('read one', 30)], writes: [ready('write one', 1)] }
  const two = { reads: [ready('read two', 10)], writes: [ready('write two', 4)] }
  const counts = drawn([one, two], 0.8)
  expect(counts['read one']).toSatisfy(about(0.8 * 0.75))
  expect(counts['read two']).toSatisfy(about(0.8 * 0.25))
  expect(counts['write one']).toSatisfy(about(0.2 * 0.2))
  expect(counts['write two']).toSatisfy(about(0.2 * 0.8))
  expect(Object.keys(counts)).toHaveLength(4)
})

test('the heaviest kind that has a request takes the place of one that has none', () => {
  const reads = [unready('read none', 5), ready('read few', 1), ready('read many', 4)]
  const counts = drawn([{ reads }], 1)
  expect(counts['read few']).toSatisfy(about(0.1))
  expect(counts['read many']).toSatisfy(about(0.9))
  expect(drawn([{ reads: [unready('read none', 5)] }], 1)).toEqual({ none: 10_000 })
})

test('a noun may have no reads or no writes', () => {
  expect(drawn([{}, { writes: [ready('write', 1)] }], 0.5)).toEqual({
    none: expect.toSatisfy(about(0.5)),
    write: expect.toSatisfy(about(0.5)),
  })
  expect(new Mix([{}]).kinds).toEqual([])
})

test('the report lists reads before writes, each with the heaviest first', () => {
  const one = { reads: [ready('read a little', 5), ready('read much', 50)], writes: [ready('edit', 9)] }
  const two = { reads: [ready('list', 10)], writes: [ready('write', 70)] }
  expect(new Mix([one, two]).kinds).toEqual(['read much', 'list', 'read a little', 'write', 'edit'])
})

test('a user who is writing is not drawn for another write; if all are writing, none is drawn', async () => {
  const mix = new Mix([{ reads: [ready('read', 1)], writes: [ready('write', 1)] }])
  const random = seededRandom(1)
  const requests: DrawnRequest[] = []
  const writing: Promise<unknown>[] = []
  for (let writes = 0; writes < people.length; writes++) {
    const request = mix.draw(random, 0, people)
    if (!request) throw new Error('a user must be free')
    requests.push(request)
    writing.push(request.send())
  }
  expect(people.map(({ isWriting }) => isWriting)).toEqual([true, true, true])
  expect(requests.every(({ isWrite }) => isWrite)).toBe(true)
  expect(mix.draw(random, 0, people)).toBeNull()
  expect(mix.draw(random, 1, people)).toMatchObject({ kind: 'read', isWrite: false })
  await time.until(Promise.all(writing))
  expect(mix.draw(random, 0, people)).toMatchObject({ kind: 'write', isWrite: true })
})
