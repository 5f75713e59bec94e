import { expect, test } from 'vitest'
import type { Env } from '../../../workers/env.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

test('operators are not rate limited, so that an import can continue; requests with a wrong token are', async () => {
  const asked: string[] = []
  const limiter = {
    limit: async ({ key }: { key: string }) => {
      asked.push(key)
      return { success: false }
    },
  } as unknown as RateLimit
  const { env, request } = workerIsolate({
    RATE_LIMITS: 'on',
    RATE_LIMIT_REQUESTS: limiter,
    RATE_LIMIT_WRITES: limiter,
  } as Partial<Env>)
  const json = { source: 'old', users: [{ externalId: '1', email: 'old@example.com', handle: 'old_one' }] }
  const send = (token: string) => request('POST', '/operator/v1/imports', { json, token })
  expect((await send(env.OPERATOR_TOKEN!)).status).toBe(200)
  expect(asked).toEqual([])
  for (const token of ['guessed', '', `${env.OPERATOR_TOKEN}x`]) expect((await send(token)).status).toBe(429)
  expect(asked).toHaveLength(3)
})

test('requests without the operators’ token cannot import', async () => {
  const { request } = workerIsolate()
  for (const path of ['/operator/v1/imports', '/operator/v1/imports/verifications'])
    for (const token of ['guessed', undefined]) {
      const answer = await request('POST', path, { json: { source: 'old', users: [] }, ...(token ? { token } : {}) })
      expect([answer.status, answer.json().code]).toEqual([401, 'OPERATOR_TOKEN_REQUIRED'])
    }
})
