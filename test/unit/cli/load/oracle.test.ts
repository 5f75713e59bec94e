import { expect, test } from 'vitest'
import type { Fault, Finding, LoadNoun } from '../../../../src/cli/load/noun.ts'
import { reportText } from '../../../../src/cli/load/report.ts'
import type { Sightings } from '../../../../src/cli/load/sightings.ts'
import { runOn, whole } from '../../../support/load-run.ts'
import { answered } from '../../../support/misbehaving-server.ts'

/** Reads crates for a second. Their check returns `found` each time it runs. */
async function load(found: (look: number) => Finding[], see: (sightings: Sightings) => void = () => undefined) {
  let looks = 0
  const crates: LoadNoun = ({ sightings }) => ({
    reads: [
      {
        name: 'read crate',
        weight: 1,
        draw: (reader) => () => {
          see(sightings)
          return reader.client.request('GET', '/crates/1')
        },
      },
    ],
    thing: {
      name: 'crate',
      readBack: () => ({ count: 1, checks: [async () => [], async () => found(++looks)] }),
    },
  })
  const routes = [() => answered(200, {})]
  const { report, seconds } = await runOn({ routes, nouns: [crates], rate: 5, durationMs: 1_000, reads: 1 })
  return { report, seconds, looks }
}

const finding = (fault: Fault, about: string, what = about): Finding => ({ fault, about, what })

test.each<Fault>(['lost', 'unexpected', 'unread'])('a thing that is %s is read again for 75 s', async (fault) => {
  const { report, seconds, looks } = await load(() => [finding(fault, 'crate 1')])
  expect(report.readBack).toMatchObject({ ...whole, [fault]: 1, late: 0 })
  expect(report.examples).toEqual([`${fault}: crate 1`])
  expect(report.isSound).toBe(false)
  expect(seconds).toBeGreaterThan(75)
  expect(seconds).toBeLessThan(80)
  // Every two seconds.
  expect(looks).toBe(39)
})

test('a doubled thing is not read again, because it stays doubled', async () => {
  const { report, seconds, looks } = await load(() => [finding('doubled', 'crate 1')])
  expect(report.readBack).toMatchObject({ ...whole, doubled: 1 })
  expect(report.isSound).toBe(false)
  expect(looks).toBe(1)
  expect(seconds).toBeLessThan(3)
})

test('a thing that was unread at first is not late, because its state was unknown', async () => {
  const { report } = await load((look) => (look < 3 ? [finding('unread', 'crate 1'), finding('lost', 'crate 2')] : []))
  expect(report.readBack).toMatchObject({ ...whole, late: 1 })
  expect(report.examples).toEqual(['late: crate 2'])
  expect(report.isSound).toBe(true)
})

test('several findings about one thing are one fault, and each fault has five examples', async () => {
  const lost = Array.from({ length: 8 }, (_, index) => finding('lost', `crate ${index}`))
  const { report } = await load(() => [
    ...lost,
    finding('lost', 'crate 0', 'crate 0 again'),
    finding('doubled', 'crate 0'),
  ])
  expect(report.readBack).toMatchObject({ ...whole, lost: 8, doubled: 1 })
  const rest = [1, 2, 3, 4].map((number) => `lost: crate ${number}`)
  expect(report.examples).toEqual(['lost: crate 0 again', ...rest, 'doubled: crate 0'])
  expect(report.readBack.crates).toBe(1)
  expect(reportText(report)).toContain('read back  1 crate: 8 lost, 1 doubled, ')
  expect(reportText(report)).toContain('\nwrong\n  lost: crate 0 again\n')
})

test('the report has the results of reads, with at most five examples', async () => {
  const stale = await load(
    () => [],
    (sightings) => {
      sightings.sawOwn(true, 'right')
      sightings.sawOwn(false, 'older')
    },
  )
  // Five reads, each with two results.
  expect(stale.report.sightings).toEqual({ own: 10, stale: 5, unexpected: 0, notYetSeen: 0, overdue: 0 })
  expect(stale.report.examples).toEqual(Array.from({ length: 5 }, () => 'stale: older'))
  expect(stale.report.isSound).toBe(false)
  expect(reportText(stale.report)).toContain('own reads  10, 5 of them stale')

  const early = await load(
    () => [],
    (sightings) => sightings.missedAnothers(false, 'crate 1'),
  )
  expect(early.report.isSound).toBe(true)
  expect(reportText(early.report)).toContain('others’    5 not yet seen, 0 overdue')

  const overdue = await load(
    () => [],
    (sightings) => sightings.missedAnothers(true, 'crate 1'),
  )
  expect(overdue.report.isSound).toBe(false)
  expect(reportText(overdue.report)).toContain('others’    0 not yet seen, 5 overdue')

  // The results of the run's reads and of reading back are added up.
  const foreign = await load(
    () => [finding('unexpected', 'crate 2')],
    (sightings) => sightings.sawUnexpected('crate 1'),
  )
  expect(foreign.report.isSound).toBe(false)
  expect(reportText(foreign.report)).toContain('6 unexpected')
})
