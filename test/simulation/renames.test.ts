import { beforeAll, expect, test } from 'vitest'
import { runContention } from './renames.ts'
import { scaleDown } from './scale.ts'
import { drawUserIds, makeTemplate, type Template } from './template.ts'

let template: Template
beforeAll(async () => {
  scaleDown()
  template = { ...(await makeTemplate()), userIds: drawUserIds(260) }
})

// test/long/renames.test.ts crashes after each call, with more seeds.
test('fifty renames and fifty sign-ups contend for one handle: one owner, and no claim without its account', async () => {
  const given = { renames: 50, signUps: 50, crashAfter: 'claims.reserve-handle' }
  const { violation, happened } = await runContention(template, 1, given)
  expect(violation).toBeNull()
  expect(happened.refused).toBeGreaterThanOrEqual(99)
  expect(happened.crashes).toBeGreaterThan(0)
  expect(happened.moves).toBeGreaterThan(0)
})

test('renames and sign-ups contend, and isolates crash after the change; a seed decides everything', async () => {
  const given = { renames: 6, signUps: 6, crashAfter: 'handles.commit' }
  const report = await runContention(template, 2, given)
  expect(report.violation).toBeNull()
  expect(await runContention(template, 2, given)).toEqual(report)
})
