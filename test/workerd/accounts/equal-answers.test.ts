import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env as bindings } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { somebody } from '../../support/worker-isolate.ts'
import { type Counts, countedEnv } from '../calls/counted-env.ts'

const ORIGIN = 'http://localhost'
const isolate = countedEnv(bindings as unknown as Env, { RATE_LIMITS: 'off' })
const known = somebody()
/** Its user has another handle now. */
const former = somebody()

/**
 * Everything that a client can see of an answer, without the parts that differ in every answer.
 * test/unit/accounts/passwords.test.ts compares the work.
 */
interface Seen {
  status: number
  headers: [string, string][]
  body: string
  calls: Counts
}

async function ask(
  path: string,
  body: Record<string, string>,
  isForm: boolean,
  token = '',
  method = 'POST',
): Promise<Seen> {
  const headers = new Headers({ origin: ORIGIN, accept: isForm ? 'text/html' : 'application/json' })
  if (token) headers.set('authorization', `Bearer ${token}`)
  headers.set('content-type', isForm ? 'application/x-www-form-urlencoded' : 'application/json')
  const text = isForm ? new URLSearchParams(body).toString() : JSON.stringify(body)
  const request = new Request(ORIGIN + path, { method, headers, body: text, redirect: 'manual' })
  const context = createExecutionContext()
  isolate.closeQueues()
  const before = { ...isolate.counts }
  const answer = await worker.fetch(request as Parameters<typeof worker.fetch>[0], isolate.env, context)
  const { d1, kv, directory } = isolate.counts
  isolate.openQueues()
  const answered = await answer.text()
  await waitOnExecutionContext(context)
  return {
    status: answer.status,
    headers: [...answer.headers].map(([name, value]) => [name, name === 'x-request-id' ? '' : withoutMs(value)]),
    body: Object.values(body).reduce((rest, value) => rest.replaceAll(value, ''), withoutId(answered)),
    calls: { d1: d1 - before.d1, kv: kv - before.kv, directory: directory - before.directory },
  }
}

const withoutMs = (value: string) => value.replace(/dur=\d+/, '')
const withoutId = (body: string) => body.replace(/"requestId":"[^"]+"/, '')

beforeAll(async () => {
  const { status } = await ask('/api/v1/accounts', known, false)
  expect(status).toBe(201)
  const { token } = JSON.parse((await ask('/api/v1/accounts', former, false)).body) as { token: string }
  const renamed = await ask('/api/v1/me/handle', { handle: 'another_handle' }, false, token, 'PUT')
  expect(renamed.status).toBe(200)
})

describe.each([
  ['/api/v1/sessions', false, 'e-mail address', known.email, 'nobody.1@example.com'],
  ['/api/v1/sessions', false, 'handle', known.handle, 'nobody_1'],
  ['/login', true, 'e-mail address', known.email, 'nobody.2@example.com'],
  ['/login', true, 'handle', known.handle, 'nobody_2'],
  ['/api/v1/sessions', false, 'former handle', former.handle, 'nobody_3'],
  ['/login', true, 'former handle', former.handle, 'nobody_4'],
])('POST %s (form: %s) with a wrong password and a known or unknown %s', (path, isForm, _kind, there, missing) => {
  test('gets the same status, headers and body after the same calls; throttled ones, too', async () => {
    // The other route has counted attempts at the known login, so each pair starts without any.
    for (const name of ['SHARD_000', 'SHARD_001'] as const)
      await (bindings as unknown as Record<typeof name, D1Database>)[name].exec('DELETE FROM password_attempts')
    const statuses: number[] = []
    for (let number = 1; number <= 6; number++) {
      const seen = await ask(path, { login: there, password: 'not this one' }, isForm)
      expect(await ask(path, { login: missing, password: 'not this one' }, isForm)).toEqual(seen)
      expect(seen.calls).toEqual({ d1: 2, kv: 0, directory: 0 })
      // It may name the slot in which the attempt was counted.
      const causal = seen.headers.filter(([name, value]) => name === 'x-causal-token' || value.includes('causal'))
      expect(causal).toEqual([])
      const wait = seen.headers.find(([name]) => name === 'retry-after')
      expect(wait).toEqual(seen.status === 429 ? ['retry-after', '1'] : undefined)
      statuses.push(seen.status)
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429])
  })
})

describe.each([
  ['/api/v1/password-resets', false, 202],
  ['/forgot-password', true, 200],
])('POST %s (form: %s) with a known or unknown address', (path, isForm, status) => {
  test('gets the same status, headers and body, before the account is looked up', async () => {
    const seen = await ask(path, { email: known.email }, isForm)
    expect(await ask(path, { email: 'nobody.3@example.com' }, isForm)).toEqual(seen)
    expect([seen.status, seen.calls.d1]).toEqual([status, 1])
  })
})
