import { beforeAll, expect, test } from 'vitest'
import { scaleDown } from '../scale.ts'
import { makeTemplate, type Template } from '../template.ts'
import { runFollows } from './run.ts'

let template: Template
beforeAll(async () => {
  scaleDown()
  template = await makeTemplate()
})

test.each([3, 6, 7])(
  'follows and unfollows arrive out of order, twice and late, while slots move and isolates crash; both sides agree (seed %i)',
  async (seed) => {
    const report = await runFollows(template, { seed, changes: 400, deletes: seed === 3 })
    expect(report).toMatchObject({ violation: null, after: [] })
    expect(report.acknowledged).toBeGreaterThan(200)
    expect(report.moves).toBeGreaterThan(0)
  },
)

test.each([4, 5])(
  'half of the jobs are lost and counts are wrong; the repair, which also runs beside the jobs, ends with the same result (seed %i)',
  async (seed) => {
    const report = await runFollows(template, { seed, changes: 400, lost: 0.5, falsified: 3, repairs: true })
    expect(report).toMatchObject({ violation: null, after: [] })
    expect(report.killed).toBeGreaterThan(50)
    expect(report.before.length).toBeGreaterThan(0)
  },
)
