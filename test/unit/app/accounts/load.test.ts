import { expect, test } from 'vitest'
import { operator } from '../../../../src/app/accounts/load.operator.ts'
import type { LoadNoun } from '../../../../src/cli/load/noun.ts'
import { runLoad } from '../../../../src/cli/load/run.ts'
import { answered, type Faults, MisbehavingServer, problem, type Route } from '../../../support/misbehaving-server.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

/** Reads that only need a user who is signed up. */
const selves: LoadNoun = () => ({
  reads: [
    {
      name: 'read self',
      weight: 1,
      draw:
        ({ client }) =>
        () =>
          client.request('GET', '/self'),
    },
  ],
})

async function load(faults: Faults = {}) {
  const time = new VirtualTime()
  const signUp = (handle: string | undefined) => answered(201, { token: `token of ${handle}` })
  const route: Route = ({ path, json }) => (path === '/api/v1/accounts' ? signUp(json.handle) : answered(200, {}))
  const server = new MisbehavingServer(time, [route], faults)
  const settings = {
    rate: 20,
    durationMs: 2_000,
    users: 3,
    reads: 1,
    seed: 1,
    run: 'load_test',
    nouns: [operator, selves],
  }
  const report = await time.until(
    runLoad({ url: 'http://localhost', findMoves: async () => [], fetch: server.fetch, clock: time, ...settings }),
  )
  const signUps = server.sent.filter(({ path }) => path === '/api/v1/accounts')
  return { report, signUps, reads: server.sent.filter(({ path }) => path === '/self') }
}

test('users sign up with their own handles and addresses, and continue with their tokens', async () => {
  const { report, signUps, reads } = await load()
  expect(report).toMatchObject({ users: 3, isSound: true })
  const handles = ['load_test_1', 'load_test_2', 'load_test_3']
  expect(signUps.map(({ method, json }) => [method, json.handle, json.email]).sort()).toEqual(
    handles.map((handle) => ['POST', handle, `${handle}@example.com`]),
  )
  expect(new Set(reads.map(({ token }) => token))).toEqual(new Set(handles.map((handle) => `token of ${handle}`)))
})

test('a sign-up without an answer is repeated with the same key', async () => {
  const { report, signUps } = await load({
    losesAnswer: ({ path, before }) => path.endsWith('accounts') && before === 0,
  })
  expect(report.requests).toMatchObject({ retries: 3, recovered: 3 })
  const keys = Map.groupBy(signUps, ({ json }) => json.handle)
    .values()
    .map((tries) => tries.map(({ key }) => key))
    .toArray()
  for (const [first, second] of keys) expect(first).toBe(second)
  expect(new Set(keys.flat()).size).toBe(3)
  expect(keys.flat()).not.toContain(null)
})

test('a refused sign-up prevents the load', async () => {
  const refused = load({ refuse: ({ path }) => (path.endsWith('accounts') ? problem(409, 'HANDLE_TAKEN') : null) })
  await expect(refused).rejects.toThrow('http://localhost did not sign up a user (409 HANDLE_TAKEN).')
})
