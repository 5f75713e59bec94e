import { beforeAll, expect, test } from 'vitest'
import { renameSteps, runContention } from './renames.ts'
import { scaleDown } from './scale.ts'
import { drawUserIds, makeTemplate, type Template } from './template.ts'

let template: Template
beforeAll(async () => {
  scaleDown()
  template = { ...(await makeTemplate()), userIds: drawUserIds(260) }
})

test.each(renameSteps.map((step, index) => [step, index + 1] as const))(
  'renames and sign-ups contend for one handle, and isolates crash after %s (seed %i)',
  async (crashAfter, seed) => {
    const { violation } = await runContention(template, seed, { renames: 6, signUps: 6, crashAfter })
    expect(violation).toBeNull()
  },
)

test('fifty renames and fifty sign-ups contend for one handle: one owner, and no claim without its account', async () => {
  const given = { renames: 50, signUps: 50, crashAfter: 'claims.reserve-handle' }
  const { violation, happened } = await runContention(template, 1, given)
  expect(violation).toBeNull()
  expect(happened.refused).toBeGreaterThanOrEqual(99)
  expect(happened.crashes).toBeGreaterThan(0)
  expect(happened.moves).toBeGreaterThan(0)
})

test('a seed decides everything, so two runs are equal', async () => {
  const given = { renames: 4, signUps: 4, crashAfter: 'handles.commit' }
  expect(await runContention(template, 2, given)).toEqual(await runContention(template, 2, given))
})
