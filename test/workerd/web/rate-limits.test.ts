import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

/** The setting in wrangler.toml: log-ins per minute for one login, or from one address. */
const CREDENTIALS_PER_MINUTE = 10

/** The first attempts at one login, which need no wait (src/app/accounts/password-attempts.ts). */
const FREE_ATTEMPTS = 5

/** Each test has its own address, because all isolates share the limits. */
const from = (address: string) => ({ 'cf-connecting-ip': address })

test('the eleventh guess within a minute from one address is refused, with Retry-After', async () => {
  const isolate = workerIsolate({ RATE_LIMITS: 'on' })
  const guess = (number: number) =>
    isolate.request('POST', '/api/v1/sessions', {
      json: { login: `nobody_${number}`, password: 'not this one' },
      headers: from('192.0.2.1'),
    })
  for (let number = 1; number <= CREDENTIALS_PER_MINUTE; number++) expect((await guess(number)).status).toBe(401)
  const answer = await guess(CREDENTIALS_PER_MINUTE + 1)
  expect([answer.status, answer.json().code]).toEqual([429, 'RATE_LIMITED'])
  expect(answer.headers.get('retry-after')).toBe('60')
})

test('the eleventh guess within a minute at one login is refused, from however many addresses', async () => {
  const isolate = workerIsolate({ RATE_LIMITS: 'on' })
  const guess = (number: number) =>
    isolate.request('POST', '/api/v1/sessions', {
      json: { login: 'nobody_at_all', password: 'not this one' },
      headers: from(`198.51.100.${number}`),
    })
  const statuses: number[] = []
  for (let number = 1; number <= CREDENTIALS_PER_MINUTE; number++) statuses.push((await guess(number)).status)
  expect(statuses.slice(0, FREE_ATTEMPTS)).toEqual(Array(FREE_ATTEMPTS).fill(401))
  const answer = await guess(CREDENTIALS_PER_MINUTE + 1)
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '60'])
})

test('a refused form shows the same message on its page', async () => {
  const isolate = workerIsolate({ RATE_LIMITS: 'on' })
  const guess = (number: number) =>
    isolate.request('POST', '/login', {
      body: `login=nobody_else_${number}&password=not+this+one`,
      headers: { ...from('192.0.2.2'), 'content-type': 'application/x-www-form-urlencoded' },
    })
  for (let number = 1; number <= CREDENTIALS_PER_MINUTE; number++) expect((await guess(number)).status).toBe(401)
  const answer = await guess(CREDENTIALS_PER_MINUTE + 1)
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
  const limiters = {
    RATE_LIMIT_REQUESTS: broken,
    RATE_LIMIT_WRITES: broken,
    RATE_LIMIT_CREDENTIALS: broken,
    RATE_LIMIT_SEARCH: broken,
  }
  const isolate = workerIsolate({ RATE_LIMITS: 'on', ...limiters })
  expect((await isolate.request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
})
