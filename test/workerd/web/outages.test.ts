import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { boundShards } from '../../../src/sharding/bound-shards.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { linkedDatabase } from '../../support/sharding-doubles.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env

const away = {
  idFromName: (name: string) => bindings.DIRECTORY.idFromName(name),
  get: (id: DurableObjectId) => ({
    id,
    encodedMap: async () => {
      throw new Error('Network connection lost.')
    },
  }),
} as unknown as Env['DIRECTORY']

/** A binding that can be replaced later, because an isolate keeps the bindings of its first request. */
function replaceable<T extends DurableObjectNamespace>(namespace: T) {
  let current = namespace
  const binding = {
    idFromName: (name: string) => namespace.idFromName(name),
    get: (id: DurableObjectId, options?: DurableObjectNamespaceGetDurableObjectOptions) => current.get(id, options),
  } as unknown as T
  const replace = (by: T) => {
    current = by
  }
  return { binding, replace }
}

test('/readyz names an unavailable directory, also in an isolate that still uses its map', async () => {
  const directory = replaceable(bindings.DIRECTORY)
  const isolate = workerIsolate({ DIRECTORY: directory.binding })
  expect((await isolate.request('GET', '/readyz')).text).toContain('ok   directory\n')
  directory.replace(away)
  const ready = await isolate.request('GET', '/readyz')
  expect([ready.status, ready.headers.get('retry-after')]).toEqual([503, '5'])
  expect(ready.text).toMatch(/^FAIL directory — .*Network connection lost/)
  expect(ready.text).toContain('ok   shard-001\n')
})

test('a missing setting is named on localhost only, and the answer has all the usual headers', async () => {
  const { request } = workerIsolate({ SIGNING_KEY: '' })
  const local = await request('GET', '/api/v1/me')
  expect([local.status, local.json().code]).toEqual([503, 'SETTING_MISSING'])
  expect(local.json().detail).toContain('SIGNING_KEY needs at least')
  for (const name of ['server-timing', 'x-request-id', 'x-content-type-options', 'retry-after'])
    expect(local.headers.get(name), name).not.toBeNull()
  const deployed = await request('GET', '/api/v1/me', { origin: 'https://banyan.example' })
  expect([deployed.status, deployed.json().code]).toEqual([503, 'SETTING_MISSING'])
  expect(deployed.json().detail).toBe('A setting is missing. Try again in a few minutes.')
})

test('each call of a Durable Object limits the runtime’s own retries to the time that its caller waits', async () => {
  const asked: [string, unknown][] = []
  const recording = <T>(name: string, namespace: DurableObjectNamespace, calls: object): T =>
    ({
      idFromName: (id: string) => namespace.idFromName(id),
      get: (_: DurableObjectId, options: object) => {
        asked.push([name, options])
        return calls
      },
    }) as unknown as T
  const [directory, mover] = [replaceable(bindings.DIRECTORY), replaceable(bindings.MOVER)]
  const isolate = workerIsolate({ DIRECTORY: directory.binding, MOVER: mover.binding })
  await isolate.request('GET', '/login')
  const move = {
    id: '01jdabcdefghjkmnpqrstvwxyz',
    ranges: [],
    source: { id: 'shard-000' },
    target: { id: 'shard-001' },
    createdAt: 0,
  }
  const calls = {
    listMoves: async () => [],
    planMoves: async () => ({ moves: [] }),
    steerMove: async () => ({ move }),
  }
  directory.replace(recording('directory', bindings.DIRECTORY, calls))
  mover.replace(recording('mover', bindings.MOVER, { wake: async () => undefined }))
  const token = bindings.OPERATOR_TOKEN!
  await isolate.request('GET', '/operator/v1/moves', { token })
  await isolate.request('POST', '/operator/v1/moves', { token, json: { slots: '0000', target: 'shard-001' } })
  await isolate.request('POST', `/operator/v1/moves/${move.id}/abort`, { token })
  const retries = (timeoutMs: unknown) => ({ retry: { maxRetries: limits.directoryRetriesMax, timeoutMs } })
  expect(asked).toEqual([
    ['directory', retries(limits.directoryMs)],
    ['directory', retries(limits.directoryPlanMs)],
    ['directory', retries(limits.directoryMs)],
    ['mover', retries(expect.any(Number))],
  ])
  const [, { retry }] = asked[3] as [string, { retry: { timeoutMs: number } }]
  expect(retry.timeoutMs).toBeLessThanOrEqual(limits.moverWakeMs)
})

/** An isolate whose databases refuse every write batch with this text. Reads still work, including exact ones. */
function refusing(text: string) {
  const refused = [...boundShards(bindings)].map(([name, database]) => {
    let isBatch = false
    const linked = linkedDatabase(database, (send) => {
      if (isBatch) return Promise.reject(new Error(text))
      return send()
    })
    const own = new Proxy(linked, {
      get(target, key) {
        if (key !== 'batch') return Reflect.get(target, key) as unknown
        return async (statements: D1PreparedStatement[]) => {
          isBatch = statements.length > 2 // an exact read has two statements: the slot's state, and the query
          const answer = target.batch(statements)
          isBatch = false
          return answer
        }
      },
    })
    return [name, own] as const
  })
  return workerIsolate(Object.fromEntries(refused) as Partial<Env>)
}

test.each([
  ['D1_ERROR: Exceeded maximum DB size.', 507, 'SHARD_FULL', /^null$/],
  [
    "D1_ERROR: Your account has exceeded D1's free tier daily row write limit. Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue.",
    503,
    'D1_DAILY_LIMIT',
    /^[1-9]\d{0,4}$/,
  ],
  ['D1_ERROR: D1 DB is overloaded. Too many requests queued.', 503, 'SHARD_UNAVAILABLE', /^\d+$/],
])('%s: a write gets %i %s, nothing is written, and reads work', async (text, status, code, retryAfter) => {
  const well = workerIsolate()
  const signedUp = await well.request('POST', '/api/v1/accounts', { json: somebody() })
  const { token } = signedUp.json<{ token: string }>()

  const { request } = refusing(text)
  const refused = await request('PATCH', '/api/v1/me', { token, json: { bio: 'second' } })
  expect([refused.status, refused.json().code], refused.text).toEqual([status, code])
  expect(String(refused.headers.get('retry-after'))).toMatch(retryAfter)
  expect(refused.headers.get('x-causal-token')).toBeNull()
  const read = await request('GET', '/api/v1/me', { token })
  expect([read.status, read.json()]).toMatchObject([200, { user: { bio: '' } }])

  const newcomer = somebody()
  const signUp = await request('POST', '/api/v1/accounts', { json: newcomer })
  expect([signUp.status, signUp.json().code], signUp.text).toEqual([status, code])
  // Nothing was written: the same sign-up succeeds when the cause is over.
  expect((await well.request('POST', '/api/v1/accounts', { json: newcomer })).status).toBe(201)
})

test('a body that takes longer than the time of a request is answered like others', async () => {
  const { env: own, request } = workerIsolate()
  await request('GET', '/login')
  const { requestMs } = limits
  Object.assign(limits, { requestMs: 1_000 })
  try {
    const json = new TextEncoder().encode(JSON.stringify(somebody()))
    const { readable, writable } = new FixedLengthStream(json.byteLength)
    const headers = { 'content-type': 'application/json', 'content-length': String(json.byteLength) }
    const sent = new Request('http://localhost/api/v1/accounts', { method: 'POST', headers, body: readable })
    const context = createExecutionContext()
    const answer = worker.fetch(sent as Parameters<typeof worker.fetch>[0], own, context)
    await systemClock.sleep(1_200)
    const writer = writable.getWriter()
    await writer.write(json)
    await writer.close()
    expect((await answer).status).toBe(201)
    await waitOnExecutionContext(context)
  } finally {
    Object.assign(limits, { requestMs })
  }
})
