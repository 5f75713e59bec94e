import { beforeAll, expect, test } from 'vitest'
import { runFollows } from '../simulation/follows/run.ts'
import { scaleDown } from '../simulation/scale.ts'
import { makeTemplate, type Template } from '../simulation/template.ts'

const CHANGES = 10_000

let template: Template
beforeAll(async () => {
  scaleDown()
  template = await makeTemplate()
})

test.each([1, 2, 3])(
  '10,000 follows and unfollows, delivered out of order with crashes and moves: both sides agree, and counts are exact (seed %i)',
  async (seed) => {
    const report = await runFollows(template, { seed, changes: CHANGES, deletes: seed === 3 })
    console.log(JSON.stringify({ ...report, before: report.before.length }))
    expect(report).toMatchObject({ violation: null, after: [] })
    expect(report.acknowledged).toBeGreaterThan(CHANGES / 2)
    expect(report.moves).toBeGreaterThan(0)
  },
)

test.each([4, 5, 6])(
  'the same with half of the jobs lost and false counts: the repair ends with the same result (seed %i)',
  async (seed) => {
    const given = { seed, changes: CHANGES, lost: 0.5, falsified: 6, repairs: true, deletes: seed === 6 }
    const report = await runFollows(template, given)
    console.log(JSON.stringify({ ...report, before: report.before.length }))
    expect(report).toMatchObject({ violation: null, after: [] })
    expect(report.killed).toBeGreaterThan(CHANGES / 8)
    expect(report.before.length).toBeGreaterThan(0)
  },
)
