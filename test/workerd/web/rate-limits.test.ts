import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

/** The setting in wrangler.toml: log-ins per minute for one login, or from one address. */
const CREDENTIALS_PER_MINUTE = 10

/** Each test has its own address, because all isolates share the limits. */
const from = (address: string) => ({ 'cf-connecting-ip': address })

test('the eleventh guess within a minute is refused, with Retry-After', async () => {
  const isolate = workerIsolate({ RATE_LIMITS: 'on' })
  const guess = () =>
    isolate.request('POST', '/api/v1/sessions', {
      json: { login: 'nobody_at_all', password: 'not this one' },
      headers: from('192.0.2.1'),
    })
  for (let number = 1; number <= CREDENTIALS_PER_MINUTE; number++) expect((await guess()).status).toBe(401)
  const answer = await guess()
  expect([answer.status, answer.json().code]).toEqual([429, 'RATE_LIMITED'])
  expect(answer.headers.get('retry-after')).toBe('60')
})

test('a refused form shows the same message on its page', async () => {
  const isolate = workerIsolate({ RATE_LIMITS: 'on' })
  const guess = () =>
    isolate.request('POST', '/login', {
      body: 'login=nobody_else&password=not+this+one',
      headers: { ...from('192.0.2.2'), 'content-type': 'application/x-www-form-urlencoded' },
    })
  for (let number = 1; number <= CREDENTIALS_PER_MINUTE; number++) expect((await guess()).status).toBe(401)
  const answer = await guess()
  expect(answer.status).toBe(429)
  expect(answer.text).toContain('Too many requests.')
  expect(answer.headers.get('retry-after')).toBe('60')
})

test('a limiter that fails lets the request pass, because it only protects', async () => {
  const broken = {
    limit: async () => {
      throw new Error('Network connection lost.')
    },
  }
  const limiters = { RATE_LIMIT_REQUESTS: broken, RATE_LIMIT_WRITES: broken, RATE_LIMIT_CREDENTIALS: broken }
  const isolate = workerIsolate({ RATE_LIMITS: 'on', ...limiters })
  expect((await isolate.request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
})
