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
  expect(bodyRoutes).toContain('PATCH /api/v1/me')
  expect(bodyRoutes).toContain('POST /settings/profile')
  expect(bodyRoutes.length).toBeGreaterThan(30)
})

test.each(bodyRoutes)('%s refuses random bytes, or stores exactly their contents', async (route) => {
  await checkRandomBodies(made.sender, made.document, route, RUNS)
})
