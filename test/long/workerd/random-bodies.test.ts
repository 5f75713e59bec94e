import { afterAll, beforeAll, test } from 'vitest'
import '../../support/light-passwords.ts'
import { bodyRoutes, checkRandomBodies, expectNothingReplaced, randomSender } from '../../support/random-bodies.ts'

const RUNS = 400
const ROUTE_MS_MAX = 300_000

let made: Awaited<ReturnType<typeof randomSender>>
beforeAll(async () => {
  made = await randomSender()
}, 30_000)
afterAll(expectNothingReplaced, 30_000)

test.each(bodyRoutes)(
  '%s refuses random bytes, or stores exactly what they say',
  async (route) => {
    await checkRandomBodies(made.sender, made.document, route, RUNS)
  },
  ROUTE_MS_MAX,
)
