import { beforeAll, expect, test } from 'vitest'
import { type ListCounts, Lister } from './listers.ts'
import { type AnotherClient, runSeed } from './run.ts'
import { scaleDown } from './scale.ts'
import { makeTemplate, type Template } from './template.ts'

/** As many as fit into a test run. LISTER_SEEDS runs any number. */
const SEEDS = Number(process.env.LISTER_SEEDS ?? 2)

let template: Template
beforeAll(async () => {
  scaleDown()
  template = await makeTemplate()
})

test(`lists of all users have each of them once, in ${SEEDS} seeds with moves and faults`, async () => {
  const total: ListCounts = { walks: 0, complete: 0, users: 0 }
  for (let seed = 1; seed <= SEEDS; seed++) {
    const listers: Lister[] = []
    const another: AnotherClient = (world, history) => {
      const lister = new Lister(world, history)
      listers.push(lister)
      return lister
    }
    const report = await runSeed(template, seed, { another })
    expect(report.violation, `seed ${seed}`).toBeNull()
    for (const { counts } of listers)
      for (const name of ['walks', 'complete', 'users'] as const) total[name] += counts[name]
  }
  console.log(JSON.stringify(total))
  expect(total.complete).toBeGreaterThan(SEEDS)
  expect(total.users).toBeGreaterThan(total.walks)
})
