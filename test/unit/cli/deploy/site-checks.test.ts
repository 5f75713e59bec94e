import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { smokeCheck, warmCheck } from '../../../../src/cli/deploy/site-checks.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'

let server: Server
let url: string
/** By path; a path that isn't there is never answered. */
let pages: Record<string, [status: number, text: string]>
let asked: string[]

beforeEach(async () => {
  ;[pages, asked] = [{}, []]
  server = createServer((request, response) => {
    asked.push(request.url!)
    const page = pages[request.url!]
    if (page) response.writeHead(page[0]).end(page[1])
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const warm = (waitMsMax?: number) => warmCheck({ sleep: async () => {} }, () => url, waitMsMax).check()

test('a site that takes requests and never answers them is waited for no longer than is said', async () => {
  const startedAt = performance.now()
  await expect(warm(300)).rejects.toThrow(`It is deployed, and ${url}/healthz isn't well: no answer`)
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

test('the wait is one for both questions: what the first has used up, the second hasn’t', async () => {
  pages['/healthz'] = [200, 'ok']
  pages['/readyz'] = [503, 'kv is away']
  await expect(warm(20_000)).rejects.toThrow(`${url}/readyz isn't well: 503: kv is away`)
  // 2 s between each two.
  expect(asked).toHaveLength(1 + 10)
})

test.each(['<html>somebody else’s page</html>', 'null', '"paths"'])(
  'what isn’t the API is said to be none: %s',
  async (text) => {
    pages['/'] = [200, '<html></html>']
    pages['/api/openapi.json'] = [200, text]
    const checking = smokeCheck(() => url, { token: () => undefined, shards: [] }).check()
    await expect(checking).rejects.toThrow(`It is deployed, and ${url}/api/openapi.json answers 200: ${text}`)
    await expect(checking).rejects.toBeInstanceOf(UserError)
  },
)

test('an operators’ list that isn’t one is said to be none', async () => {
  pages['/'] = [200, '<html></html>']
  pages['/api/openapi.json'] = [200, '{"paths":{}}']
  pages['/operator/v1/shards'] = [200, '<p>"items"</p>']
  await expect(smokeCheck(() => url, { token: () => 'a', shards: [] }).check()).rejects.toThrow(
    `${url}/operator/v1/shards answers 200`,
  )
})
