import { beforeAll, expect, test } from 'vitest'
import { failedSeeds } from './failed-seeds.ts'
import { OPERATIONS_MIN, runSeed, type SeedReport } from './run.ts'
import { scaleDown } from './scale.ts'
import { makeTemplate, type Template } from './template.ts'

/** As many seeds as fit into a test run. `npm run simulate` runs any number. */
const TIME_MS = 8_000
const SEEDS_MIN = 20

let template: Template
beforeAll(async () => {
  scaleDown()
  template = await makeTemplate()
})

function expectSound({ seed, violation, operations, moves }: SeedReport): void {
  expect(violation, `seed ${seed}; replay: npm run simulate -- --seed ${seed}`).toBeNull()
  expect(operations).toBeGreaterThanOrEqual(OPERATIONS_MIN)
  expect(Object.keys(moves).length).toBeGreaterThan(0)
}

test.each(failedSeeds)('seed %i, which once found a fault, is sound: %s', async (seed) => {
  expectSound(await runSeed(template, seed, { replicas: 'none' }))
})

test('as many seeds as fit in the time are sound', async () => {
  const until = performance.now() + TIME_MS
  for (let seed = 1; seed <= SEEDS_MIN || performance.now() < until; seed++) expectSound(await runSeed(template, seed))
})

test('a seed decides everything, so two runs are equal', async () => {
  const first = await runSeed(template, 6, { isTraced: true })
  const second = await runSeed(template, 6, { isTraced: true })
  expect(second.trace).toEqual(first.trace)
  expect(first.trace.length).toBeGreaterThan(1_000)
})
