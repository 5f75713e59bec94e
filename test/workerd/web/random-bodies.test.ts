import { afterAll, beforeAll, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { bodyRoutes, checkRandomBodies, expectNothingReplaced, randomSender } from '../../support/random-bodies.ts'

/** The long suite has more (test/long/workerd/random-bodies.test.ts). */
const RUNS = 25

let made: Awaited<ReturnType<typeof randomSender>>
beforeAll(async () => {
  made = await randomSender()
})
afterAll(expectNothingReplaced)

test('the list of routes is complete', () => {
  expect(bodyRoutes).toContain('POST /api/v1/posts')
  expect(bodyRoutes).toContain('POST /posts')
  expect(bodyRoutes.length).toBeGreaterThan(35)
})

test.each(bodyRoutes)('%s refuses random bytes, or stores exactly their contents', async (route) => {
  await checkRandomBodies(made.sender, made.document, route, RUNS)
})
