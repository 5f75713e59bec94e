import { env as bindings } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import { manifest } from '../../../dist/asset-manifest.ts'
import { limits } from '../../../src/core/limits.ts'
import type { Env } from '../../../workers/env.ts'
import { emptyCacheApi, failingCacheApi, silentCacheApi, throwingCacheApi } from '../../support/cache-api-doubles.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'
import { countedEnv } from '../calls/counted-env.ts'

// The Worker uses the Cache API for the shard map's copy and for static files. Both have another source.

const original = { ...limits }

afterEach(() => {
  Object.assign(limits, original)
  vi.unstubAllGlobals()
})

/** An isolate that has no map yet. */
function coldIsolate() {
  const { env, counts, openQueues } = countedEnv(bindings as unknown as Env)
  openQueues()
  return { ...workerIsolate(env), counts }
}

describe.each([
  ['keeps nothing', emptyCacheApi],
  ['throws on every call', throwingCacheApi],
  ['rejects every call', failingCacheApi],
  ['never answers', silentCacheApi],
])('with a Cache API that %s', (_, cache) => {
  test('an account is created, its page is served, and each cold isolate asks the directory once', async () => {
    Object.assign(limits, { cacheWaitMs: 50 })
    vi.stubGlobal('caches', { default: cache })
    const person = somebody()
    for (const [method, path, json, status] of [
      ['POST', '/api/v1/accounts', person, 201],
      ['GET', `/api/v1/users/${person.handle}`, undefined, 200],
      ['GET', `/@${person.handle}`, undefined, 200],
    ] as const) {
      const { request, counts } = coldIsolate()
      const answer = await request(method, path, { json })
      expect([path, answer.status, answer.text]).toEqual([path, status, answer.text])
      expect(counts.directory).toBe(1)
    }
  })

  test('a static file is served from the bundle, whole and by its condition', async () => {
    Object.assign(limits, { storeWaitMs: 50 })
    vi.stubGlobal('caches', { default: cache })
    const { path } = manifest['style.css']
    const whole = await workerIsolate().request('GET', path)
    expect([whole.status, whole.text.length]).toEqual([200, (await bundled(path)).length])
    const etag = whole.headers.get('etag')!
    const unchanged = await workerIsolate().request('GET', path, { headers: { 'if-none-match': etag } })
    expect([unchanged.status, unchanged.text]).toEqual([304, ''])
    const head = await workerIsolate().request('HEAD', path)
    expect([head.status, head.text]).toEqual([200, ''])
  })
})

async function bundled(path: string): Promise<string> {
  const { ASSETS } = bindings as unknown as Env
  return (await ASSETS.fetch(`http://localhost${path}`)).text()
}
