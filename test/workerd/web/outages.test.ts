import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import type { Env } from '../../../workers/env.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

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

test('a directory that is away is named by /readyz, also by an isolate that goes on with the map it holds', async () => {
  const isolate = workerIsolate()
  expect((await isolate.request('GET', '/readyz')).text).toContain('ok   directory\n')
  isolate.env.DIRECTORY = away
  const ready = await isolate.request('GET', '/readyz')
  expect([ready.status, ready.headers.get('retry-after')]).toEqual([503, '5'])
  expect(ready.text).toMatch(/^FAIL directory — .*Network connection lost/)
  expect(ready.text).toContain('ok   shard-001\n')
})

test('what isn’t set up says so where its builder is, and elsewhere no more than that; with all the usual headers', async () => {
  const { request } = workerIsolate({ SIGNING_KEY: '' })
  const local = await request('GET', '/api/v1/me')
  expect([local.status, local.json().code]).toEqual([503, 'SETTING_MISSING'])
  expect(local.json().detail).toContain('SIGNING_KEY needs at least')
  for (const name of ['server-timing', 'x-request-id', 'x-content-type-options', 'retry-after'])
    expect(local.headers.get(name), name).not.toBeNull()
  const deployed = await request('GET', '/api/v1/me', { origin: 'https://banyan.example' })
  expect([deployed.status, deployed.json().code]).toEqual([503, 'SETTING_MISSING'])
  expect(deployed.json().detail).toBe('A setting is missing.')
})
