import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { smokeCheck, warmCheck } from '../../../../src/cli/deploy/site-checks.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'

let server: Server
let url: string
/** By path. Other paths are never answered. */
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

test('the wait for a site that never answers ends at the limit', async () => {
  const startedAt = performance.now()
  await expect(warm(300)).rejects.toThrow(`The version is deployed, but ${url}/healthz is not healthy (no answer)`)
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

test('both requests share one time limit', async () => {
  pages['/healthz'] = [200, 'ok']
  pages['/readyz'] = [503, 'kv is unavailable']
  await expect(warm(20_000)).rejects.toThrow(`${url}/readyz is not healthy (503): kv is unavailable`)
  // One request every 2 s.
  expect(asked).toHaveLength(1 + 10)
})

test.each(['<html>somebody else’s page</html>', 'null', '"paths"'])(
  'an answer that is not the API’s is refused: %s',
  async (text) => {
    pages['/'] = [200, '<html></html>']
    pages['/api/openapi.json'] = [200, text]
    const checking = smokeCheck(() => url, { token: () => undefined, shards: [] }).check()
    await expect(checking).rejects.toThrow(`The version is deployed, but ${url}/api/openapi.json answers 200: ${text}`)
    await expect(checking).rejects.toBeInstanceOf(UserError)
  },
)

test('an answer that is not a list of shards is refused', async () => {
  pages['/'] = [200, '<html></html>']
  pages['/api/openapi.json'] = [200, '{"paths":{}}']
  pages['/operator/v1/shards'] = [200, '<p>"items"</p>']
  await expect(smokeCheck(() => url, { token: () => 'a', shards: [] }).check()).rejects.toThrow(
    `${url}/operator/v1/shards answers 200`,
  )
})
