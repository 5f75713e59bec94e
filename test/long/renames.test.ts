import { beforeAll, expect, test } from 'vitest'
import { renameSteps, runContention } from '../simulation/renames.ts'
import { scaleDown } from '../simulation/scale.ts'
import { drawUserIds, makeTemplate, type Template } from '../simulation/template.ts'

const SEEDS = 12

let template: Template
beforeAll(async () => {
  scaleDown()
  template = { ...(await makeTemplate()), userIds: drawUserIds(400) }
})

test.each(renameSteps)(
  'renames and sign-ups contend for one handle, and isolates crash after %s',
  async (crashAfter) => {
    const sums = { won: 0, takenBack: 0, crashes: 0, moves: 0 }
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violation, happened } = await runContention(template, seed, { renames: 50, signUps: 50, crashAfter })
      expect(violation, `seed ${seed}`).toBeNull()
      for (const name of ['won', 'takenBack', 'crashes', 'moves'] as const) sums[name] += happened[name]
    }
    for (const sum of Object.values(sums)) expect(sum).toBeGreaterThan(0)
  },
)
