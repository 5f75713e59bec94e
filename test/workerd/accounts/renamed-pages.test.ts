import { afterEach, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { cachedWorker } from '../../support/cached-worker.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

const SECOND = 1_000
const { now } = Date
let passedMs = 0
vi.spyOn(Date, 'now').mockImplementation(() => now() + passedMs)
afterEach(() => {
  passedMs = 0
})

type Isolate = Pick<ReturnType<typeof workerIsolate>, 'request'>

async function signUp({ request }: Isolate) {
  const { handle, ...given } = somebody()
  const { token } = (await request('POST', '/api/v1/accounts', { json: { ...given, handle } })).json<{
    token: string
  }>()
  return { handle, next: `${handle}_next`, token }
}

const rename = async ({ request }: Isolate, token: string, handle: string) =>
  expect((await request('PUT', '/api/v1/me/handle', { json: { handle }, token })).status).toBe(200)

test('a rename purges the page of the old name: a visitor gets 404 for it, and the new page at once', async () => {
  const isolate = cachedWorker(new WorkersCache({ now: () => now() + passedMs }))
  const { handle, next, token } = await signUp(isolate)
  const page = async (name: string) => {
    const { status, headers } = await isolate.request('GET', `/@${name}`)
    return [status, headers.get('cache-status')]
  }
  expect(await page(next)).toEqual([404, null])
  await page(handle)
  expect(await page(handle)).toEqual([200, 'PublicPages; hit'])
  await rename(isolate, token, next)
  expect(await page(handle)).toEqual([404, null])
  expect(await page(next)).toEqual([200, 'PublicPages; fwd=miss; stored'])
})

test('another isolate shows the old name from its memory for at most two minutes, and its owner never', async () => {
  const [here, there] = [workerIsolate({ CACHE: 'on' }), workerIsolate({ CACHE: 'on' })]
  const { handle, next, token } = await signUp(here)
  const status = async ({ request }: Isolate, name: string, as?: string) =>
    (await request('GET', `/api/v1/users/${name}`, as ? { token: as } : {})).status
  expect(await status(there, handle)).toBe(200)
  await rename(here, token, next)
  expect([await status(here, handle), await status(here, next)]).toEqual([404, 200])
  expect([await status(there, handle), await status(there, next)]).toEqual([200, 200])
  expect([await status(there, handle, token), await status(there, next, token)]).toEqual([404, 200])
  passedMs = 121 * SECOND
  expect(await status(there, handle)).toBe(404)
})
