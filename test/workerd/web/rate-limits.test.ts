import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

/** As wrangler.toml sets it: log-ins with one login, or from one address, a minute. */
const CREDENTIALS_PER_MINUTE = 10

/** Each test from an address of its own: the limits are one for all isolates. */
const from = (address: string) => ({ 'cf-connecting-ip': address })

test('the eleventh guess within a minute is refused, and says when to come back', async () => {
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

test('a form that is refused so is a page that says the same', async () => {
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

test('a limiter that fails lets the request pass: it guards, and nothing depends on it', async () => {
  const broken = {
    limit: async () => {
      throw new Error('Network connection lost.')
    },
  }
  const limiters = { RATE_LIMIT_REQUESTS: broken, RATE_LIMIT_WRITES: broken, RATE_LIMIT_CREDENTIALS: broken }
  const isolate = workerIsolate({ RATE_LIMITS: 'on', ...limiters })
  expect((await isolate.request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
})
